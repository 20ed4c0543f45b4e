package config

import (
	"net/url"
	"slices"
	"strings"
)

// shortcuts turns LAUDSPEAKER_EMAIL, _SMS and _PUSH into a gateway and its channel. The URL holds secrets: no fault
// repeats any part of it.
func (l *loader) shortcuts() {
	for _, channel := range ChannelNames() {
		variable := envName(channel)
		text := l.env[variable]
		if text == "" {
			continue
		}
		if used := l.alreadyRouted(channel); used != "" {
			l.faults.add("%s and %s both say how %s is sent: keep one", variable, used, channel)
			continue
		}
		settings, problem := shortcut(channel, text)
		if problem != "" {
			l.faults.add("%s %s (the value is not shown, it may hold a password)", variable, problem)
			continue
		}
		for key, value := range settings {
			put(l.tree, "gateways."+channel+"."+key, value)
		}
		put(l.tree, "channels."+channel+".gateways", []any{channel})
	}
}

func (l *loader) alreadyRouted(channel string) string {
	route := "channels." + channel + ".gateways"
	for _, key := range []string{route, "gateways." + channel} {
		if _, ok := lookup(l.tree, key); ok {
			return key
		}
	}
	if l.env[envName(route)] != "" {
		return envName(route)
	}
	if _, ok := l.flags[route]; ok {
		return route
	}
	return ""
}

// shortcut reads one URL into the keys of a gateway's section.
func shortcut(channel, text string) (settings map[string]any, problem string) {
	forms := map[string]string{
		"email": "smtp://user:password@host:587?from=… (smtps:// for TLS from the first byte)",
		"sms":   "twilio://SID:TOKEN@?from=+1…",
		"push":  "fcm:///path/to/credentials.json",
	}
	malformed := "must look like " + forms[channel] + "; in the user and password, characters such as @ / # ? % are written %40 %2F %23 %3F %25"
	u, err := url.Parse(text)
	if err != nil || u.Fragment != "" || u.Opaque != "" {
		return nil, malformed
	}
	switch {
	case channel == "email" && (u.Scheme == "smtp" || u.Scheme == "smtps") && u.Hostname() != "":
		settings = smtpShortcut(u)
	case channel == "sms" && u.Scheme == "twilio" && u.User != nil:
		settings = twilioShortcut(u)
	case channel == "push" && u.Scheme == "fcm" && u.Host == "":
		settings = fcmShortcut(u)
	default:
		return nil, malformed
	}
	return settings, query(u, settings)
}

func smtpShortcut(u *url.URL) map[string]any {
	settings := map[string]any{"type": "smtp", "host": u.Hostname(), "port": "587"}
	if u.Scheme == "smtps" {
		settings["tls"], settings["port"] = "implicit", "465"
	}
	if u.Port() != "" {
		settings["port"] = u.Port()
	}
	if u.User != nil {
		settings["username"] = u.User.Username()
		settings["password"], _ = u.User.Password()
	}
	return settings
}

func twilioShortcut(u *url.URL) map[string]any {
	settings := map[string]any{"type": "twilio"}
	secret, _ := u.User.Password()
	if sid := u.User.Username(); strings.HasPrefix(sid, "SK") {
		settings["api_key"], settings["api_secret"] = sid, secret
	} else {
		settings["account_sid"], settings["auth_token"] = sid, secret
	}
	if u.Host != "" {
		scheme := "https://"
		if loopback(u.Hostname()) {
			scheme = "http://"
		}
		settings["base_url"] = scheme + u.Host
	}
	return settings
}

func fcmShortcut(u *url.URL) map[string]any {
	settings := map[string]any{"type": "fcm"}
	if u.Path != "" && u.Path != "/" {
		settings["credentials_file"] = u.Path
	}
	return settings
}

// query adds the URL's query, whose names are keys of the section. A plus stays a plus: from=+14155550100.
func query(u *url.URL, settings map[string]any) (problem string) {
	values, err := url.ParseQuery(strings.ReplaceAll(u.RawQuery, "+", "%2B"))
	if err != nil {
		return "has a query that cannot be read: write name=value pairs joined by &"
	}
	_, section, _ := newGateway(settings["type"].(string))
	var known []string
	for _, leaf := range leaves("", section) {
		if _, taken := settings[leaf.key]; !taken || leaf.key == "tls" {
			known = append(known, leaf.key)
		}
	}
	for name := range values {
		if !slices.Contains(known, name) || len(values[name]) > 1 {
			return "has a name in its query that is not known or stands twice: known are " + strings.Join(known, ", ")
		}
		settings[name] = values.Get(name)
	}
	return ""
}
