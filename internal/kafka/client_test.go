package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
)

const secret = "s3cret-word"

func cluster(t *testing.T, opts ...kfake.Opt) Config {
	t.Helper()
	c, err := kfake.NewCluster(append(opts, kfake.NumBrokers(1))...)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return Config{Brokers: c.ListenAddrs()}
}

// requireWorks writes with every kind of client that there is.
func requireWorks(t *testing.T, cfg Config) {
	t.Helper()
	_, err := Ensure(t.Context(), cfg, []TopicSpec{{Name: "t", Partitions: 1}}, true)
	require.NoError(t, err)
	up, err := NewPublisher(cfg, PublisherConfig{}).dial(t.Context())
	require.NoError(t, err)
	up.close()
}

func TestSASL(t *testing.T) {
	for _, mechanism := range []string{Plain, ScramSHA256, ScramSHA512} {
		t.Run(mechanism, func(t *testing.T) {
			cfg := cluster(t, kfake.EnableSASL(), kfake.Superuser(mechanism, "ada", secret))
			require.ErrorIs(t, ensureError(t, cfg), ErrUnavailable, "nobody")
			cfg.SASL = SASL{mechanism, "ada", secret}
			requireWorks(t, cfg)
			cfg.SASL.Password = "wrong-" + secret
			err := ensureError(t, cfg)
			require.ErrorIs(t, err, ErrUnavailable)
			require.NotContains(t, err.Error(), secret)
		})
	}
}

func ensureError(t *testing.T, cfg Config) error {
	t.Helper()
	_, err := Ensure(t.Context(), cfg, []TopicSpec{{Name: "t", Partitions: 1}}, true)
	require.Error(t, err)
	return err
}

func TestTLS(t *testing.T) {
	ca, other := newCA(t), newCA(t)
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	server := ca.issue(t, "127.0.0.1")
	cfg := cluster(t, kfake.TLS(&tls.Config{
		Certificates: []tls.Certificate{server.pair(t)}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}))
	mine, strangers := ca.issue(t, "client"), other.issue(t, "client")

	require.ErrorIs(t, ensureError(t, cfg), ErrUnavailable, "plain text")
	cfg.TLS = TLS{Enabled: true, CAFile: ca.file, CertFile: mine.file, KeyFile: mine.key}
	requireWorks(t, cfg)

	for name, wrong := range map[string]TLS{
		"CA of another":              {Enabled: true, CAFile: other.file, CertFile: mine.file, KeyFile: mine.key},
		"system's CAs":               {Enabled: true, CertFile: mine.file, KeyFile: mine.key},
		"no client certificate":      {Enabled: true, CAFile: ca.file},
		"certificate of another CA":  {Enabled: true, CAFile: ca.file, CertFile: strangers.file, KeyFile: strangers.key},
		"a name the broker has not":  {Enabled: true, CAFile: ca.file, CertFile: mine.file, KeyFile: mine.key, ServerName: "other"},
		"CA file that is not there":  {Enabled: true, CAFile: "/nowhere"},
		"CA file without a CA":       {Enabled: true, CAFile: mine.key},
		"certificate without a key":  {Enabled: true, CAFile: ca.file, CertFile: mine.file},
		"key of another certificate": {Enabled: true, CAFile: ca.file, CertFile: mine.file, KeyFile: strangers.key},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := cfg
			cfg.TLS = wrong
			ensureError(t, cfg)
		})
	}
}

func TestServerName(t *testing.T) {
	ca := newCA(t)
	server := ca.issue(t, "kafka.example")
	cfg := cluster(t, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{server.pair(t)}}))
	cfg.TLS = TLS{Enabled: true, CAFile: ca.file, ServerName: "kafka.example"}
	requireWorks(t, cfg)
}

func TestPasswordNeverShows(t *testing.T) {
	cfg := Config{Brokers: []string{"b:1"}, SASL: SASL{Plain, "ada", secret}}
	text, err := json.Marshal(cfg)
	require.NoError(t, err)
	for _, s := range []string{string(text), fmt.Sprint(cfg), fmt.Sprintf("%+v", cfg), fmt.Sprintf("%#v", cfg), fmt.Sprintf("%s %q", cfg.SASL, cfg.SASL.Password)} {
		require.NotContains(t, s, secret)
		require.Contains(t, s, "***")
	}
	cfg.SASL.Mechanism = "GSSAPI"
	require.NotContains(t, cfg.Validate().Error(), secret)
}

func TestValidate(t *testing.T) {
	require.NoError(t, Config{Brokers: []string{"b:1"}}.Validate())
	for want, cfg := range map[string]Config{
		"no brokers":               {},
		"version":                  {Version: "new"},
		"without a mechanism":      {SASL: SASL{User: "ada", Password: secret}},
		"a user and a password":    {SASL: SASL{Mechanism: Plain, User: "ada"}},
		"not known":                {SASL: SASL{Mechanism: "GSSAPI", User: "ada", Password: secret}},
		"longer than the rebal":    {ReadTimeout: 20 * time.Second},
		"certificate file and its": {TLS: TLS{Enabled: true, KeyFile: "k"}},
	} {
		if want != "no brokers" {
			cfg.Brokers = []string{"b:1"}
		}
		require.ErrorContains(t, cfg.Validate(), want)
	}
}

func TestGroupValues(t *testing.T) {
	cfg := Config{Brokers: []string{"b:1"}, Group: Group{InstanceID: "worker-1"}}
	sc, err := cfg.group()
	require.NoError(t, err)
	require.NoError(t, sc.Validate())
	g := sc.Consumer.Group
	require.Equal(t, "worker-1", g.InstanceId)
	require.Greater(t, sc.Net.ReadTimeout, g.Rebalance.Timeout, "else a rebalance never ends")
	require.Zero(t, sc.Consumer.Fetch.Max, "anything else skips records")
	require.False(t, sc.Consumer.Offsets.AutoCommit.Enable)
	again, err := cfg.group()
	require.NoError(t, err)
	require.NotSame(t, g.Rebalance.GroupStrategies[0], again.Consumer.Group.Rebalance.GroupStrategies[0], "it has state")
}
