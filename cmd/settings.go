package cmd

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/laudspeaker/laudspeaker/config"
)

// settings are the flags of a command that reads the configuration.
type settings struct {
	file  string
	set   []string
	short map[string]*string // key to the value of its own flag
}

// shortFlags are the keys that have a flag of their own; --set reaches the others.
var shortFlags = []struct{ flag, key, usage string }{
	{"data-dir", "data_dir", "folder of what this host keeps"},
	{"api-listen", "api.listen", "address of the HTTP API"},
	{"admin-listen", "admin.listen", "address of health and metrics"},
	{"brokers", "kafka.brokers", "Kafka's addresses, host:port, separated by commas"},
	{"log-level", "log.level", "debug, info, warn or error"},
}

func addSettings(c *cobra.Command) *settings {
	s := &settings{short: map[string]*string{}}
	f := c.Flags()
	f.StringVar(&s.file, "config", "", "YAML file with settings (default: what LAUDSPEAKER_CONFIG names, else none)")
	f.StringArrayVar(&s.set, "set", nil, "any setting, as key=value; may be repeated")
	for _, short := range shortFlags {
		s.short[short.key] = f.String(short.flag, "", short.usage+" ("+short.key+")")
	}
	return s
}

func (s *settings) load() (*config.Config, error) {
	flags := map[string]string{}
	for key, value := range s.short {
		if *value != "" {
			flags[key] = *value
		}
	}
	for _, text := range s.set {
		key, value, ok := strings.Cut(text, "=")
		if !ok {
			return nil, fmt.Errorf("--set needs key=value, such as --set log.level=debug")
		}
		flags[key] = value
	}
	if s.file == "" {
		s.file = os.Getenv("LAUDSPEAKER_CONFIG")
	}
	return config.Load(config.Source{File: s.file, Env: os.Environ(), Flags: flags})
}
