package config

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func load(t *testing.T, yaml string, env ...string) (*Config, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "laudspeaker.yaml")
	require.NoError(t, os.WriteFile(file, []byte(yaml), 0o600))
	return Load(Source{File: file, Env: env})
}

func mustLoad(t *testing.T, yaml string, env ...string) *Config {
	t.Helper()
	c, err := load(t, yaml, env...)
	require.NoError(t, err)
	return c
}

// Every mistake has a fixture that is named after it: a .yaml file, a .env file, or both. What Load answers is in
// mistakes.golden. The secrets in them are all "hunter2".
func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/mistakes/*")
	require.NoError(t, err)
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(f, filepath.Ext(f)))
	}
	var got strings.Builder
	for _, name := range slices.Compact(names) {
		src := Source{}
		if _, err := os.Stat(name + ".yaml"); err == nil {
			src.File = name + ".yaml"
		}
		if env, err := os.ReadFile(name + ".env"); err == nil {
			src.Env = strings.Split(strings.TrimSpace(string(env)), "\n")
		}
		c, err := Load(src)
		require.Error(t, err, name)
		require.Nil(t, c, name)
		require.NotContains(t, err.Error(), "hunter2", name)
		got.WriteString("== " + filepath.Base(name) + "\n" + err.Error() + "\n")
	}
	golden(t, "testdata/mistakes.golden", got.String())
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "rewrite it with -update")
}

func TestNothingSetIsValid(t *testing.T) {
	c, err := Load(Source{})
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:8080", c.API.Listen)
	require.Equal(t, Size(5<<20), c.API.MaxBody)
	require.Equal(t, 24*time.Hour, c.ExpiresAfter.Normal)
	require.Equal(t, "sms_topic", c.Channels.SMS.Topic)
	require.True(t, c.Kafka.CreateTopics)
	require.False(t, c.Kafka.TLS.On())
	require.False(t, c.IsSet("admin.listen"))
}

func TestLaterSourcesWin(t *testing.T) {
	c, err := Load(Source{
		File: writeFile(t, "kafka: {prefix: file., partitions: 3, drain: 5s}\nlog: {level: debug}"),
		Env:  []string{"LAUDSPEAKER_KAFKA_PREFIX=env.", "LAUDSPEAKER_KAFKA_PARTITIONS=4", "LAUDSPEAKER_LOG_LEVEL=", "PATH=/bin"},
		Flags: map[string]string{
			"kafka.prefix": "flag.",
		},
	})
	require.NoError(t, err)
	require.Equal(t, "flag.", c.Kafka.Prefix)
	require.Equal(t, 4, c.Kafka.Partitions)
	require.Equal(t, 5*time.Second, c.Kafka.Drain)
	require.Equal(t, "debug", c.Log.Level, "an empty variable says nothing")
	require.True(t, c.IsSet("kafka.prefix"))
	require.False(t, c.IsSet("kafka.replication"))
}

func writeFile(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
	return file
}

func TestUnknownFlag(t *testing.T) {
	_, err := Load(Source{Flags: map[string]string{"kafka.prefixx": "a"}})
	require.EqualError(t, err, "configuration: --set kafka.prefixx is not a setting: did you mean kafka.prefix?")
}

func TestListsFromEveryForm(t *testing.T) {
	want := []string{"a:1", "b:2"}
	require.Equal(t, want, mustLoad(t, "kafka: {brokers: ['a:1', 'b:2']}").Kafka.Brokers)
	require.Equal(t, want, mustLoad(t, "kafka: {brokers: 'a:1,b:2'}").Kafka.Brokers)
	require.Equal(t, want, mustLoad(t, "", "LAUDSPEAKER_KAFKA_BROKERS=a:1, b:2").Kafka.Brokers)
}

func TestKeys(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	want := []APIKey{{ID: "a1", Name: "shop", SHA256: sum, Scopes: []string{"send", "read"}}}
	list := "[{id: a1, name: shop, sha256: '" + sum + "', scopes: [send, read]}]"
	require.Equal(t, want, mustLoad(t, "api: {listen: '0.0.0.0:80', keys: "+list+"}").API.Keys)
	require.Equal(t, want, mustLoad(t, "", "LAUDSPEAKER_API_KEYS="+list).API.Keys)
	mustLoad(t, "api: {listen: ':80', allow_anonymous: true}")
	mustLoad(t, "api: {listen: '[::1]:80'}")
}

func TestEmptySectionsKeepDefaults(t *testing.T) {
	c := mustLoad(t, "kafka:\nlog:\n  level:\ngateways:\nchannels: {email: }")
	require.Equal(t, 12, c.Kafka.Partitions)
	require.Equal(t, "info", c.Log.Level)
	require.Equal(t, "email_topic", c.Channels.Email.Topic)
}

func TestGateways(t *testing.T) {
	c := mustLoad(t, `
gateways:
  my-mail: {type: smtp, host: smtp.example.com, username: u, password: hunter2}
  texts: {type: twilio, account_sid: AC00000000000000000000000000000000, auth_token: t, base_url: "http://127.0.0.1:4010"}
channels: {email: {gateways: [my-mail]}, sms: {gateways: [texts]}}`,
		"LAUDSPEAKER_GATEWAYS_MY_MAIL_HOST=other.example.com",
		"LAUDSPEAKER_GATEWAYS_DRILL_TYPE=sim", "LAUDSPEAKER_GATEWAYS_DRILL_LATENCY=1s",
		"LAUDSPEAKER_CHANNELS_PUSH_GATEWAYS=drill")
	require.Equal(t, "other.example.com", c.Gateways["my-mail"].SMTP.Host)
	require.Equal(t, 587, c.Gateways["my-mail"].SMTP.Port)
	require.Equal(t, Secret("hunter2"), c.Gateways["my-mail"].SMTP.Password)
	require.Equal(t, "http://127.0.0.1:4010", c.Gateways["texts"].Twilio.BaseURL)
	require.Nil(t, c.Gateways["texts"].SMTP)
	require.Equal(t, time.Second, c.Gateways["drill"].Sim.Latency)
	require.Len(t, c.Outlets(false), 3)
	require.Equal(t, "drill", c.Outlets(true)["push"][0].Name)
}

func TestSecretsFromFiles(t *testing.T) {
	file := writeFile(t, "hun ter2\n")
	c := mustLoad(t, `
kafka: {sasl: {mechanism: scram-sha-512, username: u}}
gateways: {mail: {type: smtp, host: smtp.example.com, username: u, password_file: `+file+`}}
channels: {email: {gateways: [mail]}}`, "LAUDSPEAKER_KAFKA_SASL_PASSWORD_FILE="+file)
	require.Equal(t, Secret("hun ter2"), c.Gateways["mail"].SMTP.Password)
	require.Equal(t, Secret("hun ter2"), c.Kafka.SASL.Password)
}

func TestWhatKubernetesSetsIsNoSetting(t *testing.T) {
	mustLoad(
		t, "",
		"LAUDSPEAKER_SERVICE_HOST=10.0.0.1", "LAUDSPEAKER_SERVICE_PORT=80", "LAUDSPEAKER_SERVICE_PORT_HTTP=80",
		"LAUDSPEAKER_PORT=tcp://10.0.0.1:80", "LAUDSPEAKER_PORT_80_TCP=tcp://10.0.0.1:80", "LAUDSPEAKER_PORT_80_TCP_ADDR=10.0.0.1",
		"LAUDSPEAKER_API_PORT=tcp://10.0.0.1:80", "LAUDSPEAKER_TEST_BROKERS=127.0.0.1:9092", "LAUDSPEAKER_API_KEY=ls_x_y",
		"LAUDSPEAKER_SERVER=http://127.0.0.1:1", "LAUDSPEAKER_CONFIG=x", "LAUDSPEAKER_KAFKA_PORT=9092",
	)
}

func FuzzLoadNeverPanics(f *testing.F) {
	files, _ := filepath.Glob("testdata/mistakes/*.yaml")
	for _, file := range files {
		content, _ := os.ReadFile(file)
		f.Add(content, "smtp://u:p@h:1?from=a")
	}
	f.Fuzz(func(t *testing.T, content []byte, url string) {
		env := []string{"LAUDSPEAKER_EMAIL=" + url, "LAUDSPEAKER_SMS=" + url, "LAUDSPEAKER_PUSH=" + url}
		_, _ = Load(Source{File: writeFile(t, string(content)), Env: env})
	})
}

func TestRecipientTypes(t *testing.T) {
	for typ, want := range map[string][]string{
		"smtp": nil, "twilio": nil, "fcm": {"fcm", "topic", "condition"}, "apns": {"apns"},
		"capture": {"fcm", "apns", "topic", "condition"}, "sim": {"fcm", "apns", "topic", "condition"},
	} {
		g, _, ok := newGateway(typ)
		require.True(t, ok)
		require.Equal(t, want, g.RecipientTypes(), typ)
	}
	require.Empty(t, Gateway{}.RecipientTypes())
}
