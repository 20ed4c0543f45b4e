package config

import (
	"maps"
	"slices"
)

// Outlet is the gateway of a channel.
type Outlet struct {
	Name    string
	Gateway Gateway
}

// Outlets gives the gateway of every channel that is on. With no gateway configured at all there is none, or, with
// capture, one that captures on every channel; only the role all asks for that.
func (c *Config) Outlets(capture bool) map[string]Outlet {
	outlets := map[string]Outlet{}
	if c.Captures() {
		if !capture {
			return outlets
		}
		g, _, _ := newGateway("capture")
		g.Capture.Dir = c.outbox()
		for _, channel := range ChannelNames() {
			outlets[channel] = Outlet{"capture", g}
		}
		return outlets
	}
	for channel, section := range c.Channels.ByName() {
		if len(section.Gateways) == 1 {
			name := section.Gateways[0]
			outlets[channel] = Outlet{name, c.Gateways[name]}
		}
	}
	return outlets
}

// Captures reports whether no gateway is configured, so that the role all keeps messages instead of sending them.
func (c *Config) Captures() bool { return len(c.Gateways) == 0 }

// Unused lists the gateways that no channel names.
func (c *Config) Unused() []string {
	var unused []string
	for _, name := range slices.Sorted(maps.Keys(c.Gateways)) {
		if !slices.ContainsFunc(slices.Collect(maps.Values(c.Channels.ByName())), func(ch Channel) bool {
			return slices.Contains(ch.Gateways, name)
		}) {
			unused = append(unused, name)
		}
	}
	return unused
}
