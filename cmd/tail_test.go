package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// aStream answers each request with the next of its scripts, and then ends what follows it.
type aStream struct {
	*httptest.Server
	asked []string // query and Last-Event-ID
}

func streamOf(t *testing.T, done func(), scripts ...func(w http.ResponseWriter)) *aStream {
	s := &aStream{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(s.asked) == len(scripts) {
			done()
			<-r.Context().Done()
			return
		}
		s.asked = append(s.asked, r.URL.RawQuery+" "+r.Header.Get("Last-Event-ID"))
		scripts[len(s.asked)-1](w)
	}))
	t.Cleanup(s.Close)
	return s
}

func says(text string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { _, _ = io.WriteString(w, text) }
}

func answers(status int) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { w.WriteHeader(status) }
}

const event = `data: {"notification_id":"` + lifeID + `","state":"dead","at":"2030-01-01T00:00:01Z","channel":"email","lane":"bulk","attempt":8,"gateway":"mail","code":"550","reason":"no\u001b"}` + "\n"

// tailing follows server until it has told all that it has.
func tailing(t *testing.T, asJSON bool, last string, scripts ...func(http.ResponseWriter)) (s *aStream, out, errs string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s = streamOf(t, cancel, scripts...)
	var shown, told strings.Builder
	f := &tail{client: &client{server: s.URL}, out: &shown, errors: &told, asJSON: asJSON, query: url.Values{"lane": {"bulk"}}, last: last}
	err = f.follow(ctx)
	return s, shown.String(), told.String(), err
}

// The stream may break anywhere: what was not whole comes again, what was is not asked for again.
func TestTailGoesOnWhereItLeftOff(t *testing.T) {
	s, out, errs, err := tailing(
		t, false, "",
		says(": hello\nretry: 1000\nid: 3\n\nid: 4\nevent: event\n"+event+"\nid: 5\nevent: event\n"+event),
		answers(503), answers(429), answers(503),
		says("id:5\nevent:event\n"+event+"\n: still here\nid: 9\n\nid: 10\nda"),
		says("event: end\ndata: {\"reason\":\"shutdown\"}\n\n"),
		says("id: 0\nevent: end\ndata: {\"reason\":\"rebuilt\"}\n\n"),
		says("id: 1\nevent: later\ndata: x\n\nevent: event\ndata: not JSON\n\n"),
	)
	require.NoError(t, err)
	require.Equal(t, []string{"lane=bulk ", "lane=bulk 4", "lane=bulk 4", "lane=bulk 4", "lane=bulk 4", "lane=bulk 9", "lane=bulk 9", "lane=bulk 0"}, s.asked)
	line := time.Date(2030, 1, 1, 0, 0, 1, 0, time.UTC).Local().Format("15:04:05.000") + "  email  bulk    " + lifeID + "  dead, attempt 8, 550: no\\x1b (mail)\n"
	require.Equal(t, line+line, out)
	require.Equal(t, 1, strings.Count(errs, "trying again"), errs)
}

func TestTailAsJSON(t *testing.T) {
	s, out, _, err := tailing(t, true, "0", says("id: 4\nevent: event\n"+event+"\n"))
	require.NoError(t, err)
	require.Equal(t, "lane=bulk 0", s.asked[0])
	require.Equal(t, strings.TrimPrefix(event, "data: "), out)
}

// What asking again would not mend is an error, at the beginning and later.
func TestTailGivesUp(t *testing.T) {
	_, _, _, err := tailing(t, false, "", answers(503))
	require.ErrorContains(t, err, "503", "the first answer tells what is wrong")
	for _, status := range []int{401, 403, 404, 422} {
		_, _, _, err = tailing(t, false, "", says("id: 3\n\n"), answers(status))
		require.ErrorContains(t, err, fmt.Sprint(status))
	}
	f := &tail{client: &client{server: streamOf(t, func() {}, says("event: event\n"+event+"\n")).URL}, out: full{}, errors: io.Discard}
	require.ErrorContains(t, f.follow(t.Context()), "show an event: no space")
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space") }

func TestTailCommand(t *testing.T) {
	s := serve(t, 422, `{"title":"A parameter is not valid","detail":"lane: give one of urgent, normal, bulk"}`)
	_, _, errs := run(t, "tail", "--server", s.URL, "--lane", "fast", "--state", "dead", "--id", lifeID, "--after", "0")
	require.Equal(t, "laudspeaker: the server answers 422 A parameter is not valid: lane: give one of urgent, normal, bulk\n", errs)
	require.Equal(t, "/v1/stream?id="+lifeID+"&lane=fast&state=dead", s.request.URL.String())
	require.Equal(t, "0", s.request.Header.Get("Last-Event-ID"))
	_, _, errs = run(t, "tail", "--server", "http://127.0.0.1:1")
	require.Contains(t, errs, "nothing answers at http://127.0.0.1:1")
}
