package notify

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Events are what encoding/json would make of them, to the byte.
func TestEventsAreWrittenAsTheLibraryWouldWriteThem(t *testing.T) {
	moment := rapid.Custom(func(t *rapid.T) time.Time {
		return time.Unix(rapid.Int64Range(-1e10, 2e11).Draw(t, "s"), rapid.Int64Range(0, 1e9-1).Draw(t, "ns")).UTC()
	})
	text := rapid.OneOf(rapid.String(), rapid.Just(""), rapid.Just(`<a href="x">&\`+"\n\x00\x7f\u2028é😀\xff"))
	try := rapid.Custom(func(t *rapid.T) Try {
		return Try{text.Draw(t, "gateway"), Verdict(text.Draw(t, "verdict")), text.Draw(t, "code"), text.Draw(t, "reason"), rapid.Int64().Draw(t, "ms")}
	})
	part := rapid.Custom(func(t *rapid.T) Part {
		return Part{text.Draw(t, "field"), State(text.Draw(t, "state")), text.Draw(t, "code")}
	})
	rapid.Check(t, func(t *rapid.T) {
		e := &Event{
			EventID: text.Draw(t, "event"), NotificationID: text.Draw(t, "id"), Run: rapid.Int().Draw(t, "run"), Step: rapid.Int().Draw(t, "step"),
			Attempt: rapid.Int().Draw(t, "attempt"), State: State(text.Draw(t, "state")), Final: rapid.Bool().Draw(t, "final"), At: moment.Draw(t, "at"),
			Tenant: text.Draw(t, "tenant"), Channel: Channel(text.Draw(t, "channel")), Lane: Lane(text.Draw(t, "lane")), Reference: text.Draw(t, "reference"),
			Gateway: text.Draw(t, "gateway"), Code: text.Draw(t, "code"), Reason: text.Draw(t, "reason"), Simulated: rapid.Bool().Draw(t, "simulated"),
			Tries: rapid.SliceOfN(try, 0, 3).Draw(t, "tries"), ProviderID: text.Draw(t, "provider"), Warnings: rapid.SliceOfN(text, 0, 3).Draw(t, "warnings"),
			Recipients: rapid.SliceOfN(part, 0, 3).Draw(t, "recipients"),
			Note:       text.Draw(t, "note"), Fields: rapid.SliceOfN(text, 0, 3).Draw(t, "fields"), Awaited: rapid.Bool().Draw(t, "awaited"),
		}
		if rapid.Bool().Draw(t, "next") {
			at := moment.Draw(t, "next_at")
			e.NextAt = &at
		}
		if rapid.Bool().Draw(t, "from") {
			e.Origin = &Origin{text.Draw(t, "topic"), rapid.Int32().Draw(t, "partition"), rapid.Int64().Draw(t, "offset")}
		}
		if rapid.Bool().Draw(t, "inbound") {
			e.Inbound = &EventInbound{text.Draw(t, "from"), text.Draw(t, "to"), Keyword(text.Draw(t, "keyword")), text.Draw(t, "text")}
		}
		want, wrong := encode(e)
		got, err := e.Encode()
		require.Equal(t, wrong == nil, err == nil)
		require.Equal(t, string(want), string(got))
	})
}

func BenchmarkEncodeEvent(b *testing.B) {
	e := &Event{
		EventID: NewID(), NotificationID: NewID(), Attempt: 1, State: StateSent, Final: true, At: time.Now().UTC(), Tenant: DefaultTenant,
		Channel: ChannelSMS, Lane: LaneNormal, Gateway: "texts", Tries: []Try{{Gateway: "texts", Verdict: Accepted, Millis: 12}}, ProviderID: "SM1",
	}
	for b.Loop() {
		if _, err := e.Encode(); err != nil {
			b.Fatal(err)
		}
	}
}
