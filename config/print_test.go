package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"
)

func TestGeneratedFilesAreUpToDate(t *testing.T) {
	for file, want := range map[string]string{"../configs/laudspeaker.yaml": Annotated(), "../docs/configuration.md": Markdown()} {
		got, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, want, string(got), "run: go run ./config/gen")
	}
}

func TestShippedFilesLoad(t *testing.T) {
	files, err := filepath.Glob("../configs/*.yaml")
	require.NoError(t, err)
	require.Len(t, files, 6)
	secret := writeFile(t, "hunter2")
	secrets := map[string][]string{
		"production.yaml": {"KAFKA_SASL_PASSWORD", "GATEWAYS_MAIL_PASSWORD", "GATEWAYS_TEXTS_AUTH_TOKEN"},
		"http-sms.yaml":   {"GATEWAYS_TEXTS_TOKEN"},
		"http-email.yaml": {"GATEWAYS_MAIL_SECRET"},
		"http-own.yaml":   {"GATEWAYS_OWN_SIGNING_SECRET"},
	}
	for _, file := range files {
		src := Source{File: file}
		for _, key := range secrets[filepath.Base(file)] {
			src.Env = append(src.Env, "LAUDSPEAKER_"+key+"_FILE="+secret)
		}
		_, err := Load(src)
		require.NoError(t, err, file)
	}
}

func TestAnnotatedFileSaysTheDefaults(t *testing.T) {
	c, err := Load(Source{File: "../configs/laudspeaker.yaml"})
	require.NoError(t, err)
	c.explicit = map[string]bool{}
	d := Default()
	d.Kafka.Brokers, d.API.Keys = []string{}, []APIKey{}
	d.Channels.Email.Gateways, d.Channels.SMS.Gateways, d.Channels.Push.Gateways = []string{}, []string{}, []string{}
	d.SMS.StopWords, d.SMS.StartWords, d.SMS.HelpWords = []string{}, []string{}, []string{}
	require.Equal(t, d, c)
}

// The examples of gateways are comments in the file. With the marks taken away they are YAML whose keys are all known.
func TestAnnotatedExamplesAreKnownKeys(t *testing.T) {
	text := strings.Replace(Annotated(), "gateways: {}", "gateways:", 1)
	before, examples, ok := strings.Cut(text, "gateways:\n")
	require.True(t, ok)
	examples, after, ok := strings.Cut(examples, "\n\n# What each channel")
	require.True(t, ok)
	var lines []string
	for _, line := range strings.Split(examples, "\n") {
		lines = append(lines, strings.TrimPrefix(line, "#"))
	}
	text = before + "gateways:\n" + strings.Join(lines, "\n") + "\n\n# What each channel" + after
	_, err := load(t, text)
	require.Error(t, err, "the examples have no host, no account")
	require.NotContains(t, err.Error(), "is not a setting")
	var tree map[string]any
	require.NoError(t, yaml.Unmarshal([]byte(text), &tree))
	require.Len(t, tree["gateways"], len(gatewayTypes()))
	require.Len(t, exampleNames, len(gatewayTypes()))
}

func TestPrintMasksSecretsAndLoadsAgain(t *testing.T) {
	c := mustLoad(t, `
api: {keys: [{id: a1, name: shop, sha256: "`+strings.Repeat("ab", 32)+`", scopes: [send]}]}
kafka: {brokers: ["a:1"], sasl: {mechanism: scram-sha-512, username: u, password: hunter2}, prefix: "a."}
gateways: {texts: {type: twilio, account_sid: AC00000000000000000000000000000000, auth_token: hunter2, from: "+14155550100"}}
channels: {sms: {gateways: [texts]}}`)
	text := c.Print()
	require.NotContains(t, text, "hunter2")
	require.Equal(t, 2, strings.Count(text, "'***'"))
	again := mustLoad(t, strings.ReplaceAll(text, "'***'", "hunter2"))
	require.Equal(t, text, again.Print())
	require.Equal(t, c.API.Keys, again.API.Keys)
	require.Equal(t, "+14155550100", again.Gateways["texts"].Twilio.From)
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]Size{"5MiB": 5 << 20, " 64 KiB ": 64 << 10, "1GB": 1e9, "12": 12, "3B": 3, "0": 0} {
		got, err := ParseSize(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "MiB", "-1", "1.5MiB", "9999999999GiB", "5 mib", "1TiB"} {
		_, err := ParseSize(text)
		require.Error(t, err, text)
	}
	require.Equal(t, "5MiB", Size(5<<20).String())
	require.Equal(t, "1000", Size(1000).String())
	require.Equal(t, "0", Size(0).String())
}

func TestEditDistance(t *testing.T) {
	require.Equal(t, 0, editDistance("abc", "abc"))
	require.Equal(t, 3, editDistance("kitten", "sitting"))
	require.Equal(t, 3, editDistance("", "abc"))
}
