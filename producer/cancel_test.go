package producer

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const toCancel = "/v1/notifications/" + capturedID + "/cancel"

func TestCancel(t *testing.T) {
	canceller, log := &fakeCanceller{}, &journal{}
	s := newServer(t, Config{Canceller: canceller, Log: log.logger()})
	for _, id := range []string{capturedID, strings.ToUpper(capturedID)} {
		answer, body := do(t, s, request(http.MethodPost, "/v1/notifications/"+id+"/cancel", ""))
		require.Equal(t, http.StatusOK, answer.StatusCode, body)
		require.JSONEq(t, `{"id":"`+capturedID+`","cancel_requested_at":"2030-01-01T00:00:00.123Z","effective_at":"2030-01-01T00:00:01.123Z"}`, body)
	}
	require.Equal(t, []string{capturedID, capturedID}, canceller.got, "in one spelling")
	require.Contains(t, log.text(), `"id":"`+capturedID+`"`)
	require.Contains(t, log.text(), `"route":"/v1/notifications/{id}/cancel"`)
}

// What is refused is not cancelled.
func TestARefusedCancelCancelsNothing(t *testing.T) {
	canceller := &fakeCanceller{}
	s := newServer(t, Config{Canceller: canceller})
	for _, r := range []*http.Request{
		request(http.MethodPost, "/v1/notifications/1/cancel", ""),
		request(http.MethodPost, toCancel+"?reason=x", ""),
		request(http.MethodPost, toCancel, "{}"),
		request(http.MethodGet, toCancel, ""),
	} {
		answer, body := do(t, s, r)
		require.GreaterOrEqual(t, answer.StatusCode, 400, body)
	}
	require.Empty(t, canceller.got)
}
