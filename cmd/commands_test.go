package cmd

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/config"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// What --help says, of every command, is a text that people read: it is kept as a golden file.
func TestHelp(t *testing.T) {
	var got strings.Builder
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		_, out, _ := run(t, append(strings.Fields(c.CommandPath())[1:], "--help")...)
		got.WriteString("== " + c.CommandPath() + "\n" + out + "\n")
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				visit(sub)
			}
		}
	}
	visit(newRoot())
	golden(t, "testdata/help.golden", got.String())
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

func TestEveryCommandShowsAnExample(t *testing.T) {
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		if c.RunE != nil {
			require.NotEmpty(t, c.Example, c.CommandPath())
		}
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(newRoot())
}

func TestConfigCommands(t *testing.T) {
	file := filepath.Join(t.TempDir(), "l.yaml")
	require.NoError(t, os.WriteFile(file, []byte("gateways: {mail: {type: smtp, host: smtp.example.com, username: u, password: hunter2}, spare: {type: sim}}\nchannels: {email: {gateways: [mail]}}"), 0o600))
	code, out, _ := run(t, "config", "validate", "--config", file)
	require.Zero(t, code)
	require.Equal(t, "note: gateways.spare is used by no channel\nok\n", out)
	code, out, _ = run(t, "config", "print", "--config", file, "--set", "kafka.prefix=a.", "--log-level", "warn")
	require.Zero(t, code)
	require.NotContains(t, out, "hunter2")
	require.Contains(t, out, "password: '***'")
	require.Contains(t, out, "prefix: a.")
	require.Contains(t, out, "level: warn")

	code, out, errs := run(t, "config", "validate", "--set", "kafka.drain=1h", "--set", "kafka.brokerz=a", "--api-listen", ":80")
	require.Equal(t, 1, code)
	require.Empty(t, out)
	require.Contains(t, errs, "laudspeaker: the configuration has 3 faults:\n  - ")
	_, _, errs = run(t, "config", "validate", "--set", "kafka")
	require.Contains(t, errs, "--set needs key=value")
}

// TestConfigValidate_MakesTheGateways: validate refuses what a start refuses, and names an API whose answers cannot be classified.
func TestConfigValidate_MakesTheGateways(t *testing.T) {
	api := func(section string) (code int, out, errs string) {
		file := filepath.Join(t.TempDir(), "l.yaml")
		require.NoError(t, os.WriteFile(file, []byte("gateways: {api: {type: http, url: 'https://api.example.com/v1', "+section+"}}\nchannels: {sms: {gateways: [api]}}"), 0o600))
		return run(t, "config", "validate", "--config", file)
	}
	code, out, errs := api(`body: '{"to": {{json .adress}}}', id_path: /id`)
	require.Equal(t, 1, code)
	require.Empty(t, out)
	require.Contains(t, errs, "the message has no adress")
	code, out, _ = api(`body: '{"to": {{json .address}}}'`)
	require.Zero(t, code)
	require.Contains(t, out, "note: gateways.api: every answer with a status of success counts as sent")
	_, out, _ = api(`body: '{"to": {{json .address}}}', success: {status_only: true}`)
	require.Equal(t, "ok\n", out)
}

func TestConfigFileFromTheEnvironment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "l.yaml")
	require.NoError(t, os.WriteFile(file, []byte("kafka: {prefix: b.}"), 0o600))
	t.Setenv("LAUDSPEAKER_CONFIG", file)
	_, out, _ := run(t, "config", "print")
	require.Contains(t, out, "prefix: b.")
}

// The line that keys generate prints goes into the configuration as it is.
func TestKeysGenerate(t *testing.T) {
	for range 50 { // an id of digits alone must not become a number
		code, out, errs := run(t, "keys", "generate", "my shop", "--scopes", "send,admin")
		require.Zero(t, code, errs)
		key := regexp.MustCompile(`(?m)^  (ls_\w+)$`).FindStringSubmatch(out)
		line := regexp.MustCompile(`(?m)^  (- \{.*\})$`).FindStringSubmatch(out)
		require.Len(t, key, 2, out)
		require.Len(t, line, 2, out)
		require.NotContains(t, line[1], key[1])
		file := filepath.Join(t.TempDir(), "l.yaml")
		require.NoError(t, os.WriteFile(file, []byte("api:\n  listen: 0.0.0.0:80\n  keys:\n    "+line[1]), 0o600))
		cfg, err := config.Load(config.Source{File: file})
		require.NoError(t, err)
		require.Equal(t, "my shop", cfg.API.Keys[0].Name)
		require.Equal(t, []string{"send", "admin"}, cfg.API.Keys[0].Scopes)
	}
	_, _, errs := run(t, "keys", "generate", "a\"b")
	require.Contains(t, errs, "NAME must be")
	_, _, errs = run(t, "keys", "generate", "a", "--scopes", "sned")
	require.Contains(t, errs, "--scopes knows send, read and admin")
}

func TestTopics(t *testing.T) {
	code, out, errs := run(t, "topics", "--set", "kafka.prefix=a.")
	require.Zero(t, code, errs)
	for _, name := range []string{"a.email_topic", "a.email_topic.dlq", "a.sms_topic", "a.push_topic.dlq", "a.sms_topic.urgent", "a.push_topic.bulk", "a.email_topic.delay.12h", "a.status_topic", "a.control_topic"} {
		require.Regexp(t, `(?m)^`+regexp.QuoteMeta(name)+` `, out)
	}
	_, out, _ = run(t, "topics", "--format", "kafka-topics", "--set", "gateways.g.type=sim", "--set", "channels.sms.gateways=g", "--set", "channels.sms.topic=texts")
	require.Equal(t, 3+7+2+1+2, strings.Count(out, "--create"), "lanes, tiers and dead letters of channels that are on, and the two that all share")
	require.NotContains(t, out, "email_topic")
	require.Contains(t, out, "--topic texts.dlq")
	_, _, errs = run(t, "topics", "--format", "xml")
	require.Equal(t, "laudspeaker: --format knows text, kafka-topics, terraform\n", errs)
	_, _, errs = run(t, "topics", "--create")
	require.Contains(t, errs, "kafka.brokers is empty")
}

func TestRolesSayWhatTheyNeed(t *testing.T) {
	_, _, errs := run(t, "serve-api")
	require.Contains(t, errs, "kafka.brokers is empty")
	_, _, errs = run(t, "serve-api", "--brokers", "127.0.0.1:1")
	require.Contains(t, errs, "no gateway is configured")
	sim := []string{"work", "--brokers", "127.0.0.1:1", "--set", "gateways.g.type=sim", "--set", "channels.sms.gateways=g"}
	_, _, errs = run(t, sim...)
	require.Contains(t, errs, "--channel is missing")
	_, _, errs = run(t, append(sim, "--channel", "fax")...)
	require.Contains(t, errs, "--channel knows email, sms and push")
	_, _, errs = run(t, append(sim, "--channel", "sms,email")...)
	require.Contains(t, errs, "--channel email: it has no gateway; name one in channels.email.gateways")
}

func TestUnsuppressRefusesWhatItCannotChoose(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--channel sms --reason nonsense +14155550100", "--reason knows manual, opted_out, recipient_gone, bad_recipient"},
		{"--channel email --sender +15005550006 ada@example.com", "--sender goes with --channel sms"},
		{"--sender +15005550006 +14155550100", "--channel is missing"},
	} {
		code, out, errs := run(t, append([]string{"unsuppress"}, strings.Fields(c.args)...)...)
		require.NotZero(t, code, c.args)
		require.Contains(t, errs, c.want)
		require.Empty(t, out)
	}
}

func TestGatewaysCheck(t *testing.T) {
	_, _, errs := run(t, "gateways", "check")
	require.Contains(t, errs, "nothing to check")
	code, out, errs := run(t, "gateways", "check",
		"--set", "gateways.g.type=sim", "--set", "channels.sms.gateways=g",
		"--set", "gateways.mail.type=smtp", "--set", "gateways.mail.host=127.0.0.1", "--set", "gateways.mail.port=1", "--set", "channels.email.gateways=mail")
	require.Equal(t, 1, code)
	require.Contains(t, out, "g: ok (sim)\n")
	require.Regexp(t, `mail: transient: .+\n`, out)
	require.Contains(t, errs, "1 of 2 gateways failed")
}

func TestVersion(t *testing.T) {
	_, out, _ := run(t, "version")
	require.Regexp(t, `^laudspeaker \S+ go1\.\d+\S* \w+/\w+\n$`, out)
}
