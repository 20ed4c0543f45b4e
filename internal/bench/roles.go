package bench

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strconv"
)

// Values of --store.
const (
	storeOff    = "off"
	storeSQLite = "sqlite"
)

// account is that of the SMS sink, which asks for none.
const account = "AC00000000000000000000000000000000"

// section is a part of a configuration. JSON is YAML, so a configuration is written as JSON.
type section map[string]any

// outlets are what the configuration says of the ways out.
type outlets struct {
	sink        *sink // nil: gateways that nobody calls
	inFlight    int
	connections int // to the relay
}

// config writes a configuration for the roles. embedded leaves the broker to the role "all".
func (s *stage) config(name, store string, embedded bool, o outlets) (file string, err error) {
	dir := filepath.Join(s.dir, name)
	kafka := section{"prefix": s.prefix, "partitions": s.partitions(), "embedded": section{"listen": "127.0.0.1:0", "partitions": s.partitions()}}
	if !embedded {
		kafka["brokers"] = s.brokers
	}
	status := section{}
	if store == storeOff {
		// The store is waited for, and nothing is recorded. Nothing listens on this port.
		status["dsn"] = "postgres://127.0.0.1:1/off"
	}
	text, err := json.Marshal(section{
		"data_dir": dir, "kafka": kafka, "status": status,
		"log": section{"format": "json"}, "api": section{"listen": "127.0.0.1:0"}, "admin": section{"listen": "127.0.0.1:0"},
		"gateways": o.gateways(), "channels": o.channels(),
	})
	if err != nil {
		return "", err
	}
	file = filepath.Join(s.dir, name+".yaml")
	return file, os.WriteFile(file, text, 0o600)
}

func (o outlets) gateways() section {
	if o.sink == nil {
		o.sink = &sink{&process{at: addresses{HTTP: "127.0.0.1:1", SMTP: "127.0.0.1:1"}}} // nothing listens there
	}
	host, port, _ := net.SplitHostPort(o.sink.at.SMTP)
	number, _ := strconv.Atoi(port)
	mail := section{"type": "smtp", "host": host, "port": number, "tls": "none", "from": sender}
	if o.connections > 0 {
		mail["connections"] = o.connections
	}
	return section{
		"mail":   mail,
		"texts":  section{"type": "twilio", "account_sid": account, "auth_token": "none", "from": "+14155550100", "base_url": "http://" + o.sink.at.HTTP},
		"pushes": section{"type": "fcm", "project_id": project, "endpoint": "http://" + o.sink.at.HTTP, "token": "none"},
	}
}

func (o outlets) channels() section {
	channels := section{}
	for channel, gateway := range map[string]string{"email": "mail", "sms": "texts", "push": "pushes"} {
		c := section{"gateways": []string{gateway}, "retries": section{"normal": section{"first": "1s", "longest": "5s", "attempts": 0}}}
		if o.inFlight > 0 {
			c["concurrency"] = o.inFlight
		}
		channels[channel] = c
	}
	return channels
}

// api starts the HTTP API in front of the brokers of the stage.
func (s *stage) api(ctx context.Context, store string, o outlets) (*process, error) {
	file, err := s.config("api", store, false, o)
	if err != nil {
		return nil, err
	}
	return s.role(ctx, "api", file, "serve-api")
}

func (s *stage) worker(ctx context.Context, channels string, o outlets) (*process, error) {
	file, err := s.config("work", storeOff, false, o)
	if err != nil {
		return nil, err
	}
	return s.role(ctx, "work", file, "work", "--channel", channels)
}

// all starts everything in one process with an embedded broker.
func (s *stage) all(ctx context.Context, o outlets) (*process, error) {
	file, err := s.config("all", storeSQLite, true, o)
	if err != nil {
		return nil, err
	}
	return s.role(ctx, "all", file, "all")
}
