package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Outlet is one gateway of a channel's route.
type Outlet struct {
	Name    string
	Gateway Gateway
	Weight  int // 0 where the order decides
}

// Route is the gateways of a channel, as it names them.
type Route []Outlet

// Outlets gives the route of every channel that is on. With no gateway configured at all there is none, or, with capture,
// one that captures on every channel; only the role all asks for that.
func (c *Config) Outlets(capture bool) map[string]Route {
	routes := map[string]Route{}
	if c.Captures() {
		if !capture {
			return routes
		}
		g, _, _ := newGateway("capture")
		g.Capture.Dir = c.outbox()
		for _, channel := range ChannelNames() {
			routes[channel] = Route{{Name: "capture", Gateway: g}}
		}
		return routes
	}
	for channel, section := range c.Channels.ByName() {
		for _, entry := range section.Gateways {
			name, weight, _ := routeEntry(entry)
			routes[channel] = append(routes[channel], Outlet{name, c.Gateways[name], weight})
		}
	}
	return routes
}

// routeEntry reads "mail" or "mail=70".
func routeEntry(text string) (name string, weight int, err error) {
	name, number, weighted := strings.Cut(text, "=")
	name = strings.TrimSpace(name)
	if !weighted {
		return name, 0, nil
	}
	weight, err = strconv.Atoi(strings.TrimSpace(number))
	if err != nil || weight < 1 || weight > 1000 {
		return name, 0, fmt.Errorf("not a weight")
	}
	return name, weight, nil
}

// Captures reports whether no gateway is configured, so that the role all keeps messages instead of sending them.
func (c *Config) Captures() bool { return len(c.Gateways) == 0 }

// Unused lists the gateways that no channel names.
func (c *Config) Unused() []string {
	used := map[string]bool{}
	for _, ch := range c.Channels.ByName() {
		for _, entry := range ch.Gateways {
			name, _, _ := routeEntry(entry)
			used[name] = true
		}
	}
	var unused []string
	for _, name := range slices.Sorted(maps.Keys(c.Gateways)) {
		if !used[name] {
			unused = append(unused, name)
		}
	}
	return unused
}
