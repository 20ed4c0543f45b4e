package apns

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/gateway/apns/apnstest"
	"github.com/laudspeaker/laudspeaker/gateway/gatewaytest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// TestSender_Arrives: APNs gets the complete request.
func TestSender_Arrives(t *testing.T) {
	f := apnstest.New(t, true)
	s := sender(t, f)
	defer s.Close()
	m := push(7)
	m.Push.Priority = "high"
	receipt, err := s.Send(t.Context(), m)
	require.NoError(t, err)
	require.Equal(t, notify.Receipt{ProviderID: m.ID}, receipt)
	require.Len(t, f.Accepted(), 1)
	got := f.Accepted()[0]
	require.Equal(t, m.Address, got.Token)
	require.Equal(t, []string{apnstest.Topic, "alert", "10", m.ID}, []string{
		got.Header.Get("apns-topic"), got.Header.Get("apns-push-type"), got.Header.Get("apns-priority"), got.Header.Get("apns-collapse-id"),
	})
	require.JSONEq(t, `{"aps":{"alert":{"title":"Gwtitle gwmark000007x","body":"gwsecretbody gwmark000007x"}},"k":"gwsecretdata"}`, string(got.Payload))
}

// TestSender_TopicOfMessage: a bad topic of one message does not stop the gateway, and does not hide that the key is wrong.
func TestSender_TopicOfMessage(t *testing.T) {
	f := apnstest.New(t, true)
	s := sender(t, f)
	defer s.Close()
	m := push(1)
	with(apnstest.Topic + ".voip")(m)
	_, err := s.Send(t.Context(), m)
	require.NoError(t, err)

	f.Refuse()
	_, err = s.Send(t.Context(), m)
	require.Equal(t, notify.Unavailable, notify.Judge(err).Verdict)
}

// TestJudge_Reasons: if a message has its own topic, a refusal of the token may be about this topic.
func TestJudge_Reasons(t *testing.T) {
	for want, own := range map[notify.Verdict]http.HandlerFunc{
		notify.Permanent:   answer(400, "BadDeviceToken"),
		notify.Unavailable: answer(403, "InvalidProviderToken"),
		notify.Transient:   answer(503, "ServiceUnavailable"),
	} {
		h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("apns-topic") == apnstest.Topic {
				own(w, r)
				return
			}
			answer(403, "InvalidProviderToken")(w, r)
		}))
		s := sender(t, &fake{URL: h.URL, KeyFile: newProvider(t).file})
		m := push(1)
		with("com.example.other")(m)
		_, err := s.Send(t.Context(), m)
		require.Equal(t, want, notify.Judge(err).Verdict)
		require.NoError(t, s.Close())
		h.Close()
	}
}

func answer(status int, reason string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(`{"reason":"` + reason + `"}`))
	}
}

// TestJudge_ReasonBeforeStatus: status 499 is not in the table and would be permanent.
func TestJudge_ReasonBeforeStatus(t *testing.T) {
	for verdict, known := range map[notify.Verdict][]string{
		notify.Transient: {"IdleTimeout", "InternalServerError", "ServiceUnavailable", "Shutdown"},
		notify.Throttled: {"TooManyRequests"},
		notify.Unavailable: {
			"ExpiredProviderToken", "InvalidProviderToken", "MissingProviderToken", "UnrelatedKeyIdInToken", "BadEnvironmentKeyIdInToken",
			"TooManyProviderTokenUpdates", "Forbidden", "BadCertificate", "BadCertificateEnvironment", "BadTopic", "TopicDisallowed",
			"MissingTopic", "BadPath", "MethodNotAllowed",
		},
	} {
		for _, reason := range known {
			require.Equal(t, verdict, refusal(499, reason, false).Verdict, reason)
		}
	}
	for reason, word := range map[string]string{
		"BadDeviceToken": notify.ReasonBadRecipient, "DeviceTokenNotForTopic": notify.ReasonBadRecipient,
		"Unregistered": notify.ReasonRecipientGone, "ExpiredToken": notify.ReasonRecipientGone,
	} {
		f := refusal(499, reason, false)
		require.Equal(t, []any{notify.Permanent, true, word, reason}, []any{f.Verdict, f.Gone, f.Reason, f.Code})
	}
	require.Equal(t, notify.ReasonTooLarge, refusal(499, "PayloadTooLarge", false).Reason)
	require.Equal(t, notify.Permanent, refusal(400, "BadTopic", true).Verdict)
}

func TestSender_FollowsNoRedirect(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a request went to another host") }))
	defer other.Close()
	f := apnstest.New(t, false)
	s := sender(t, f)
	defer s.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		f.Reply(status, http.Header{"Location": {other.URL}}, "")
		_, err := s.Send(t.Context(), push(1))
		require.Equal(t, notify.Unavailable, notify.Judge(err).Verdict, status)
	}
}

// TestSender_Endpoint: the path of the endpoint is kept, and a token is one segment of the path.
func TestSender_Endpoint(t *testing.T) {
	var path string
	h := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { path = r.URL.Path }))
	defer h.Close()
	s := sender(t, &fake{URL: h.URL + "/apple/", KeyFile: newProvider(t).file})
	defer s.Close()
	m := push(1)
	_, err := s.Send(t.Context(), m)
	require.Error(t, err)
	require.Equal(t, "/apple/3/device/"+m.Address, path)
}

// TestSender_Timeout: the configured timeout bounds an attempt whose context has none.
func TestSender_Timeout(t *testing.T) {
	f := apnstest.New(t, true)
	f.Hang(gatewaytest.AtRequest)
	s := sender(t, f)
	s.timeout = 100 * time.Millisecond
	defer s.Close()
	_, err := s.Send(context.Background(), push(1)) // the suite shows what a timeout means at each step
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// TestProvider_OneToken: Apple limits how often a client may show a new token.
func TestProvider_OneToken(t *testing.T) {
	f := apnstest.New(t, true)
	s := sender(t, f)
	defer s.Close()
	for n := range 50 {
		_, err := s.Send(t.Context(), push(n))
		require.NoError(t, err)
	}
	require.Len(t, f.Tokens(), 1)
}

// FuzzBlock: no block causes a panic, and all headers are headers of APNs with printable values.
func FuzzBlock(f *testing.F) {
	for _, text := range []string{
		`{"headers":{"apns-priority":"5"},"payload":{"aps":{"alert":"a","badge":1},"k":[1]},"fcm_options":{"image":"https://a.example"}}`,
		`{"headers":{"apns-topic":"a\r\nb"}}`, `null`, `[]`, `{"payload":{"aps":{"alert":[]}}}`, `{"payload":null}`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p := notify.Push{Title: "t", Body: "b"}
		p.APNs = []byte(text)
		m, refused := built(p)
		if refused != nil {
			require.Equal(t, notify.Permanent, refused.Verdict)
			return
		}
		require.LessOrEqual(t, len(m.payload), maxPayload)
		require.True(t, strings.HasPrefix(string(m.payload), "{"))
		for name := range m.header {
			require.True(t, headers[strings.ToLower(name)], name)
			require.Regexp(t, printable, m.header.Get(name))
		}
	})
}
