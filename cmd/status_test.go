package cmd

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const lifeID = "018f0000-0000-7000-8000-000000000001"

// aLife is one that was sent by its second gateway at the second attempt.
func aLife() notify.Life {
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.Local)
	next := at.Add(30 * time.Second)
	return notify.Life{
		ID: lifeID, Tenant: "shop", Channel: notify.ChannelEmail, Lane: notify.LaneNormal, Recipient: "ada@example.com\x1b[2J", Reference: "order 4711",
		State: notify.StateSent, Final: true, Attempt: 2, Gateway: "spare", Code: "250", AcceptedAt: at, UpdatedAt: at.Add(time.Minute), ExpiresAt: &next,
		ProviderID: "<1@example.com>", Payload: json.RawMessage(`{"text":"hi"}`),
		Timeline: []notify.Event{
			{State: notify.StateQueued, At: at},
			{
				State: notify.StateRetrying, At: at.Add(time.Second), Attempt: 1, Gateway: "mail", Code: "451 4.7.1", Reason: "greylisted", NextAt: &next,
				Tries: []notify.Try{{Gateway: "mail", Verdict: notify.Transient, Code: "451 4.7.1", Reason: "greylisted\x1b", Millis: 120}},
			},
			{State: notify.StateSent, Final: true, At: at.Add(31 * time.Second), Attempt: 2, Gateway: "spare", Code: "250", Tries: []notify.Try{
				{Gateway: "mail", Verdict: notify.Unavailable, Reason: "no connection", Millis: 3}, {Gateway: "spare", Verdict: notify.Accepted, Code: "250", Millis: 40},
			}},
			{State: notify.StateSent, Final: true, At: at.Add(time.Hour), Note: notify.NoteRedriven, Simulated: true, Warnings: []string{"unknown field"}},
		},
	}
}

func TestStatus(t *testing.T) {
	life := aLife()
	encoded, err := json.Marshal(&life)
	require.NoError(t, err)
	s := serve(t, 200, string(encoded))
	code, out, errs := run(t, "status", strings.ToUpper(lifeID), "--server", s.URL, "--key", "ls_a_b")
	require.Zero(t, code, errs)
	require.Equal(t, "/v1/notifications/"+lifeID, s.request.URL.String())
	require.Equal(t, "Bearer ls_a_b", s.request.Header.Get("Authorization"))
	golden(t, "testdata/status.golden", out)

	code, out, _ = run(t, "status", lifeID, "--server", s.URL, "--json")
	require.Zero(t, code)
	var got notify.Life
	require.NoError(t, json.Unmarshal([]byte(out), &got))
	require.JSONEq(t, `{"text":"hi"}`, string(got.Payload))
	require.Equal(t, 1, strings.Count(out, "\n"))
}

func TestStatusFaults(t *testing.T) {
	_, _, errs := run(t, "status", "4711")
	require.Contains(t, errs, "ID must be a UUID")
	_, _, errs = run(t, "status", lifeID, "--state", "dead")
	require.Contains(t, errs, "give an ID or filters")
	_, _, errs = run(t, "status", "--since", "yesterday")
	require.Contains(t, errs, "--since needs how long ago")
	_, _, errs = run(t, "status", "--limit", "0")
	require.Contains(t, errs, "--limit must be")
	_, _, errs = run(t, "status", lifeID, "--server", serve(t, 404, `{"title":"There is nothing here","detail":"there is no notification of this id"}`).URL)
	require.Equal(t, "laudspeaker: the server answers 404 There is nothing here: there is no notification of this id\n", errs)
}

// The list goes from page to page, short and empty ones included, until it has what was asked for.
func TestStatusLists(t *testing.T) {
	life := aLife()
	life.Payload, life.Timeline = nil, nil
	one, err := json.Marshal(&life)
	require.NoError(t, err)
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RawQuery)
		fmt.Fprintf(w, `{"data":[%s],"next_cursor":%s}`, []string{string(one), "", string(one) + "," + string(one)}[len(asked)-1], []string{`"a b"`, `"c"`, "null"}[len(asked)-1])
	}))
	defer server.Close()
	args := []string{
		"status", "--server", server.URL, "--state", "sent,dead", "--channel", "email", "--lane", "normal", "--tenant", "shop", "--reference", "order 4711",
		"--gateway", "spare", "--recipient", "ada@example.com", "--since", "2030-01-01T00:00:00Z", "--until", "2031-01-01T00:00:00Z",
	}
	code, out, errs := run(t, append(args, "--limit", "201")...)
	require.Zero(t, code, errs)
	const rest = "&reference=order+4711&since=2030-01-01T00%3A00%3A00Z&state=sent&state=dead&tenant=shop&until=2031-01-01T00%3A00%3A00Z"
	const first = "channel=email&gateway=spare&lane=normal&limit=200&recipient=ada%40example.com" + rest
	require.Equal(t, []string{first, "channel=email&cursor=a+b" + first[len("channel=email"):], "channel=email&cursor=c" + first[len("channel=email"):]}, asked)
	line := "2030-01-01 00:00:00  email  normal  " + lifeID + `  sent  ada@example.com\x1b[2J  250 (spare)` + "\n"
	require.Equal(t, line+line+line, out)

	asked = nil
	_, out, _ = run(t, append(args, "--limit", "1", "--json")...)
	require.Len(t, asked, 1)
	require.JSONEq(t, string(one), out)
	_, out, _ = run(t, "status", "--server", serve(t, 200, `{"data":[],"next_cursor":null}`).URL)
	require.Equal(t, "No notifications.\n", out)
}

// TestEventForPeople_Inbound shows what came, as far as the event says it, and nothing that a terminal would obey.
func TestEventForPeople_Inbound(t *testing.T) {
	e := &notify.Event{State: notify.StateSent, Note: notify.NoteInbound, Gateway: "texts", Inbound: &notify.EventInbound{From: "+14***23", To: "+15005550006", Keyword: notify.KeywordStop}}
	require.Equal(t, "inbound, still sent, by texts, from +14***23 to +15005550006, stop", eventForPeople(e))
	e.Inbound = &notify.EventInbound{From: "+14155550123", To: "12345", Text: "hi\x1b[31m"}
	require.Contains(t, eventForPeople(e), ", from +14155550123 to 12345: hi")
	require.NotContains(t, eventForPeople(e), "\x1b")
}
