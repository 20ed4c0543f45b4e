package kafka

import (
	"time"
)

// Config is how to reach Kafka. The zero value of every field but Brokers has a default.
type Config struct {
	Brokers  []string // host:port; one is enough to find the others
	ClientID string   // shown in the brokers' logs and quotas; "laudspeaker"
	Version  string   // of the protocol, at most the brokers' own; "2.8.0"
	TLS      TLS
	SASL     SASL
	Group    Group

	ReadTimeout time.Duration // how long an answer to a join may take, see brokerConn for others; above Group.RebalanceTimeout; 45s

	// RefreshInterval is how often each client asks for the partitions and leaders of its topics. A group compares what its
	// client knows as often, so that it finds new partitions within two such times; 10s.
	RefreshInterval time.Duration
}

// TLS is how the brokers prove who they are, and we to them. A certificate is always checked.
type TLS struct {
	Enabled    bool
	CAFile     string // PEM; empty takes the system's
	CertFile   string // PEM; the client's certificate, together with KeyFile
	KeyFile    string
	ServerName string // the name in the brokers' certificates, when it is not the host that is dialled
}

// Mechanisms of [SASL].
const (
	Plain       = "PLAIN"
	ScramSHA256 = "SCRAM-SHA-256"
	ScramSHA512 = "SCRAM-SHA-512"
)

// SASL is a user and how it proves itself; without a mechanism there is none.
type SASL struct {
	Mechanism string // [Plain], [ScramSHA256] or [ScramSHA512]
	User      string
	Password  Password
}

// Password prints as *** wherever a Config is printed.
type Password string

func (p Password) String() string {
	if p == "" {
		return ""
	}
	return "***"
}

// GoString masks the password in %#v.
func (p Password) GoString() string { return p.String() }

// MarshalText masks the password in JSON and YAML.
func (p Password) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// Group is how consumer groups keep time. The drain of a revoked partition has to end within RebalanceTimeout, and an
// answer to a join takes as long as that, hence Config.ReadTimeout above it.
type Group struct {
	SessionTimeout    time.Duration // without a heartbeat for so long a member is out; 6s, or 10s where the brokers refuse 6s
	HeartbeatInterval time.Duration // by which a member also hears of a rebalance; a sixth of SessionTimeout
	RebalanceTimeout  time.Duration // 20s
	InstanceID        string        // static membership: a name that is stable over restarts and unique in the group; empty = none
}

func (c Config) withDefaults() Config {
	orString(&c.ClientID, "laudspeaker")
	orString(&c.Version, "2.8.0")
	orDuration(&c.ReadTimeout, 45*time.Second)
	orDuration(&c.RefreshInterval, 10*time.Second)
	orDuration(&c.Group.SessionTimeout, shortSession)
	orDuration(&c.Group.HeartbeatInterval, c.Group.SessionTimeout/6)
	orDuration(&c.Group.RebalanceTimeout, 20*time.Second)
	return c
}

func orString(s *string, d string) {
	if *s == "" {
		*s = d
	}
}

func orDuration(t *time.Duration, d time.Duration) {
	if *t == 0 {
		*t = d
	}
}
