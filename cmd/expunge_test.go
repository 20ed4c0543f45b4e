package cmd

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// expungeServer answers one request after another by answers, the last for good, and keeps the bodies.
func expungeServer(t *testing.T, answers ...string) (url string, bodies *[]string) {
	t.Helper()
	bodies = &[]string{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		*bodies = append(*bodies, r.Method+" "+r.URL.Path+" "+string(body))
		_, _ = io.WriteString(w, answers[min(len(*bodies), len(answers))-1])
	}))
	t.Cleanup(s.Close)
	return s.URL, bodies
}

func TestExpungeGoesOnUntilNothingIsLeft(t *testing.T) {
	url, bodies := expungeServer(t, `{"expunged":1000,"complete":false}`, `{"expunged":234,"complete":true}`)
	code, out, errs := run(t, "expunge", "--tenant", "shop", "--yes", "--server", url)
	require.Zero(t, code, errs)
	require.Equal(t, "expunged 1,234; what Kafka holds of them stays there until its retention\n", out)
	require.Equal(t, []string{`POST /v1/expunge {"tenant":"shop"}`, `POST /v1/expunge {"tenant":"shop"}`}, *bodies)

	url, bodies = expungeServer(t, `{"expunged":1,"complete":true}`)
	code, _, errs = run(t, "expunge", "--older-than", "720h", "--yes", "--server", url)
	require.Zero(t, code, errs)
	require.Regexp(t, `^POST /v1/expunge \{"before":"\d{4}-\d\d-\d\dT[0-9:.]+Z"\}$`, (*bodies)[0])
}

// As many ids as there are, and each once, go in requests that the server takes.
func TestExpungeByIDs(t *testing.T) {
	url, bodies := expungeServer(t, `{"expunged":1,"complete":true}`)
	args := []string{"expunge", "--yes", "--server", url}
	for range idsAtOnce + 1 {
		args = append(args, "--id", notify.NewID())
	}
	code, out, errs := run(t, append(args, "--id", strings.ToUpper(args[len(args)-1]))...)
	require.Zero(t, code, errs)
	require.Len(t, *bodies, 2)
	require.Equal(t, idsAtOnce, strings.Count((*bodies)[0], "-")/4)
	require.Equal(t, 1, strings.Count((*bodies)[1], "-")/4)
	require.Contains(t, out, "expunged 2;")
}

func TestExpungeAsksFirst(t *testing.T) {
	url, bodies := expungeServer(t, `{"expunged":5,"complete":true}`)
	for answer, agreed := range map[string]bool{"yes\n": true, " YES \n": true, "y\n": false, "no\n": false, "": false, "\n": false} {
		*bodies = nil
		root, said := newRoot(), &bytes.Buffer{}
		root.SetArgs([]string{"expunge", "--id", notify.NewID(), "--server", url})
		root.SetIn(strings.NewReader(answer))
		root.SetOut(said)
		root.SetErr(said)
		err := root.Execute()
		require.Equal(t, agreed, err == nil, "%q", answer)
		require.Equal(t, agreed, len(*bodies) == 1)
		require.Contains(t, said.String(), "payload of 1 notification from the status store of "+url+", for good. Go on? (yes/no)")
		if !agreed {
			require.ErrorContains(t, err, "nothing was expunged")
		}
	}
}

func TestExpungeSaysWhatItNeeds(t *testing.T) {
	for line, want := range map[string]string{
		"expunge":                                              "say which notifications: --id ID, --tenant NAME or --older-than 720h",
		"expunge --yes --older-than 0s":                        "say which notifications",
		"expunge --id eve@test.example":                        "--id must be a UUID",
		"expunge --tenant a --older-than 720h":                 "if any flags in the group",
		"expunge --yes --tenant a --server http://127.0.0.1:1": "nothing answers at http://127.0.0.1:1",
	} {
		code, out, errs := run(t, strings.Fields(line)...)
		require.Equal(t, 1, code, line)
		require.Empty(t, out, line)
		require.Contains(t, errs, want, line)
		require.NotContains(t, errs, "eve@")
	}
}
