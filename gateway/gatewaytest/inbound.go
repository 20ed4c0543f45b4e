package gatewaytest

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// InboundReader reads the text messages that a provider delivers to a gateway's senders.
type InboundReader interface {
	// Read returns the text in a request with that body after it has verified that the request comes from the provider. Its
	// errors are [notify.ErrForged], [notify.ErrForeignSender] and [notify.Faults], which do not quote the request.
	Read(r *http.Request, body []byte) (notify.Inbound, error)
	// Answer returns the response that the provider expects for an accepted text.
	Answer() (contentType string, body []byte)
}

// Brought is a text message as a provider delivers it.
type Brought struct {
	ID, From, To, Text string
	Account            string // another account than the gateway's; empty: the gateway's
	Keyword            string // the provider's classification of the text: a value of InboundSuite.Keywords
	Secret             string // another secret than the provider's; empty: the provider's
}

// InboundSuite describes how to drive the reader of one gateway. [RunInbound] needs every field.
type InboundSuite struct {
	New     func() InboundReader
	Request func(b Brought) *http.Request // signed
	IDs     [2]string                     // IDs of two messages, in the provider's form
	To      string                        // a sender of the gateway
	Origin  string                        // what Originator names for texts from it
	Foreign string                        // a number that is no sender of the gateway
	// Keywords are the provider's own classifications of a text; empty if it sends none.
	Keywords map[string]notify.Keyword
	Account  string   // another account
	Hostile  []string // signed bodies that are no text
	Resign   func(r *http.Request, body string)
}

const person = "+14155550123"

// take reads the body of r.
func take(t testing.TB, r *http.Request) []byte {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	return body
}

// RunInbound checks the requirements of opt-outs by text message.
func RunInbound(t *testing.T, s InboundSuite) {
	reader := s.New()
	good := Brought{ID: s.IDs[0], From: person, To: s.To, Text: " stop gwsecretbody\n"}
	t.Run("a text", func(t *testing.T) {
		for range 2 { // a repetition has the same ID
			r := s.Request(good)
			body := take(t, r)
			in, err := reader.Read(r, body)
			require.NoError(t, err)
			require.Equal(t, []string{s.IDs[0], person, person, s.To, good.Text}, []string{in.ProviderID, in.From, in.Address, in.To, in.Text})
			require.Contains(t, in.Senders, s.Origin, "what Originator names is what an opt-out blocks")
			require.Empty(t, in.Keyword, "the text decides")
		}
		other := good
		other.ID = s.IDs[1]
		r := s.Request(other)
		body := take(t, r)
		in, err := reader.Read(r, body)
		require.NoError(t, err)
		require.Equal(t, s.IDs[1], in.ProviderID)
	})
	t.Run("what the provider says of it", func(t *testing.T) {
		for word, keyword := range s.Keywords {
			b := good
			b.Keyword = word
			r := s.Request(b)
			body := take(t, r)
			in, err := reader.Read(r, body)
			require.NoError(t, err)
			require.Equal(t, keyword, in.Keyword, word)
		}
	})
	t.Run("from nobody who can be texted", func(t *testing.T) {
		for _, from := range []string{"32665", "ACME", "+1", "whatsapp:" + person} {
			b := good
			b.From = from
			r := s.Request(b)
			body := take(t, r)
			in, err := reader.Read(r, body)
			require.NoError(t, err)
			require.Empty(t, in.Address, from)
		}
	})
	t.Run("to a foreign number", func(t *testing.T) {
		b := good
		b.To = s.Foreign
		refused(t, s, reader, s.Request(b), notify.ErrForeignSender)
	})
	t.Run("of another account", func(t *testing.T) {
		b := good
		b.Account = s.Account
		refused(t, s, reader, s.Request(b), notify.ErrForged)
	})
	t.Run("signed by another key", func(t *testing.T) {
		b := good
		b.Secret = "gwanothersecret0123456789abcdef0"
		refused(t, s, reader, s.Request(b), notify.ErrForged)
	})
	t.Run("one bit flipped", func(t *testing.T) { s.flipped(t, reader, good) })
	t.Run("no text", func(t *testing.T) {
		for _, hostile := range s.Hostile {
			r := s.Request(good)
			s.Resign(r, hostile)
			_, err := reader.Read(r, []byte(hostile))
			var faults notify.Faults
			require.ErrorAs(t, err, &faults, "%.40q", hostile)
			require.Empty(t, shown(err.Error(), []string{"gwsecret", person}))
		}
	})
	t.Run("the answer", func(t *testing.T) {
		kind, body := reader.Answer()
		require.NotEmpty(t, kind)
		require.NotContains(t, string(body), "gwsecret")
	})
}

// flipped checks that a request with any changed bit, of the body or of a relevant header, is refused.
func (s InboundSuite) flipped(t *testing.T, reader InboundReader, b Brought) {
	whole := take(t, s.Request(b))
	for i := range whole {
		for bit := range 8 {
			r := s.Request(b)
			body := bytes.Clone(whole)
			body[i] ^= 1 << bit
			if in, err := reader.Read(r, body); err == nil {
				sent, _ := reader.Read(s.Request(b), whole) // the same letter in another spelling, such as %2b and %2B
				require.Equal(t, sent, in, "bit %d of byte %d of the body", bit, i)
			}
		}
	}
	headers := 0
	for name, values := range s.Request(b).Header {
		for i := range values[0] {
			r := s.Request(b)
			value := []byte(values[0])
			value[i] ^= 1
			r.Header.Set(name, string(value))
			if _, err := reader.Read(r, whole); err != nil {
				headers++
			}
		}
	}
	require.GreaterOrEqual(t, headers, 16, "a signature is in the headers")
}

func refused(t *testing.T, s InboundSuite, reader InboundReader, r *http.Request, want error) {
	t.Helper()
	body := take(t, r)
	_, err := reader.Read(r, body)
	require.ErrorIs(t, err, want)
	require.Empty(t, shown(err.Error(), []string{"gwsecret", person, s.Foreign}))
}
