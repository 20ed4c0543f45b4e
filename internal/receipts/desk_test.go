package receipts

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const id = "0190163d-8694-739b-aea5-966c26f8ad91"

// heard is a reader that says what it is made of.
type heard struct {
	notify.Report
	err error
}

func (h heard) Read(*http.Request, []byte) (notify.Report, error) { return h.Report, h.err }

// book is a store of one notification, and what was told of it.
type book struct {
	mu     sync.Mutex
	life   notify.Life
	err    error // of a look
	deaf   error // of telling
	looked int
	told   []notify.Event

	settled    []int // runs
	suppressed []notify.Report
	kept       []notify.Report
	full       error // of keeping
}

func (b *book) Keep(_ context.Context, _ string, said notify.Report) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.full == nil {
		b.kept = append(b.kept, said)
	}
	return b.full
}

func (b *book) Settle(_ context.Context, id string, run int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.deaf == nil {
		b.settled = append(b.settled, run)
	}
	return b.deaf
}

func (b *book) Suppress(_ context.Context, _ *notify.Life, said notify.Report) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.deaf == nil {
		b.suppressed = append(b.suppressed, said)
	}
	return b.deaf
}

func (b *book) Get(_ context.Context, asked string) (*notify.Life, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.looked++
	if b.err == nil && asked != b.life.ID {
		return nil, notify.ErrUnknownNotification
	}
	life := b.life
	return &life, b.err
}

func (b *book) OfProvider(_ context.Context, gateway, providerID string) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.looked++
	if b.err == nil && (gateway != b.life.Gateway || providerID != b.life.ProviderID) {
		return "", notify.ErrUnknownNotification
	}
	return b.life.ID, b.err
}

// Tell folds the event as the recorder does.
func (b *book) Tell(_ context.Context, e notify.Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.deaf != nil {
		return b.deaf
	}
	e.Seal()
	b.told = append(b.told, e)
	b.life.State, b.life.Final = e.State, e.Final
	return nil
}

func (b *book) become(s notify.State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.life.State = s
}

var sentAt = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func sent() *book {
	return &book{life: notify.Life{
		ID: id, Tenant: "acme", Channel: notify.ChannelSMS, Lane: notify.LaneUrgent, Reference: "order 4711", State: notify.StateSent,
		Run: 2, Step: 5, Attempt: 3, Gateway: "texts", ProviderID: "SM1", UpdatedAt: sentAt,
	}}
}

func delivered() notify.Report {
	return notify.Report{NotificationID: id, Run: 2, ProviderID: "SM1", State: notify.StateDelivered}
}

func take(t testing.TB, b *book, said notify.Report) (string, error) {
	return desk(b, said).Take(t.Context(), "texts", nil, nil)
}

func desk(b *book, said notify.Report) *Desk {
	return &Desk{
		Readers: map[string]Reader{"texts": heard{Report: said}}, Lives: b, Teller: b, Settler: b, Suppressor: b, Keeper: b,
		Delivers: func(gateway string, ch notify.Channel) bool { return gateway == "texts" && ch == notify.ChannelSMS },
	}
}

func TestAReceiptIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, said := sent(), delivered()
		said.State, said.Code, said.Reason = notify.StateBounced, "30005", notify.ReasonRecipientGone
		result, err := take(t, b, said)
		require.NoError(t, err)
		require.Equal(t, Recorded, result)
		want := notify.Event{
			NotificationID: id, Run: 2, Step: 5, Attempt: 3, State: notify.StateBounced, At: time.Now(), Tenant: "acme", Channel: notify.ChannelSMS,
			Lane: notify.LaneUrgent, Reference: "order 4711", Gateway: "texts", Code: "30005", Reason: notify.ReasonRecipientGone, ProviderID: "SM1",
		}
		want.Seal()
		require.True(t, want.Final)
		require.Equal(t, []notify.Event{want}, b.told)
		for _, again := range []notify.Report{said, delivered()} {
			result, err = take(t, b, again)
			require.NoError(t, err)
			require.Equal(t, Repeated, result)
		}
		require.Len(t, b.told, 1)
	})
}

// What a receipt is to a notification in every state.
func TestWhatIsNews(t *testing.T) {
	type change func(*notify.Life, *notify.Report)
	in := func(s notify.State) change { return func(l *notify.Life, _ *notify.Report) { l.State = s } }
	inTry := func(gateway string, v notify.Verdict) change {
		return func(l *notify.Life, _ *notify.Report) {
			l.State, l.Gateway, l.ProviderID = notify.StateRetrying, gateway, ""
			l.Timeline = []notify.Event{{State: notify.StateRetrying, Tries: []notify.Try{{Gateway: gateway, Verdict: v}}}}
		}
	}
	for name, c := range map[string]struct {
		change change
		result string
		err    error
	}{
		"sent":                   {func(*notify.Life, *notify.Report) {}, Recorded, nil},
		"closed":                 {func(l *notify.Life, _ *notify.Report) { l.Final = true }, Recorded, nil},
		"held":                   {func(l *notify.Life, _ *notify.Report) { l.State, l.ProviderID = notify.StateHeld, "" }, Recorded, nil},
		"lost":                   {func(l *notify.Life, _ *notify.Report) { l.State, l.ProviderID, l.Gateway = notify.StateLost, "", "" }, Recorded, nil},
		"no word of the run":     {func(_ *notify.Life, r *notify.Report) { r.Run = notify.AnyRun }, Recorded, nil},
		"no name of the message": {func(_ *notify.Life, r *notify.Report) { r.ProviderID = "" }, Recorded, nil},
		"no id":                  {func(_ *notify.Life, r *notify.Report) { r.NotificationID = "" }, Recorded, nil},
		"delivered":              {in(notify.StateDelivered), Repeated, nil},
		"bounced":                {in(notify.StateBounced), Repeated, nil},
		"bounced, twice": {func(l *notify.Life, r *notify.Report) {
			l.State, r.State = notify.StateBounced, notify.StateBounced
		}, Repeated, nil},
		"delivered, then bounced": {func(l *notify.Life, r *notify.Report) {
			l.State, l.Final, r.State = notify.StateDelivered, true, notify.StateBounced
		}, Recorded, nil},
		"delivered by another gateway, then bounced": {func(l *notify.Life, r *notify.Report) {
			l.State, l.Gateway, r.State = notify.StateDelivered, "backup", notify.StateBounced
		}, "", notify.ErrUnknownNotification},
		"dead":                {in(notify.StateDead), Late, nil},
		"rejected":            {in(notify.StateRejected), Late, nil},
		"an earlier run":      {func(_ *notify.Life, r *notify.Report) { r.Run = 1 }, Late, nil},
		"on its way":          {func(_ *notify.Life, r *notify.Report) { r.State = "" }, Acknowledged, nil},
		"queued, with an id":  {in(notify.StateQueued), Resolved, nil},
		"queued, bounced":     {func(l *notify.Life, r *notify.Report) { l.State, r.State = notify.StateQueued, notify.StateBounced }, Kept, nil},
		"queued by name":      {func(l *notify.Life, r *notify.Report) { l.State, r.NotificationID = notify.StateQueued, "" }, Kept, nil},
		"queued, a later run": {func(l *notify.Life, r *notify.Report) { l.State, r.Run = notify.StateQueued, 3 }, Kept, nil},
		"queued for a channel that the gateway does not deliver": {func(l *notify.Life, _ *notify.Report) {
			l.State, l.Gateway, l.Channel = notify.StateQueued, "", notify.ChannelEmail
		}, "", notify.ErrUnknownNotification},
		"scheduled, and due": {in(notify.StateScheduled), Resolved, nil},
		"scheduled for later": {func(l *notify.Life, _ *notify.Report) {
			at := time.Now().Add(time.Hour)
			l.State, l.NextAt = notify.StateScheduled, &at
		}, Kept, nil},
		"retrying":                               {in(notify.StateRetrying), Resolved, nil},
		"retrying, bounced":                      {func(l *notify.Life, r *notify.Report) { l.State, r.State = notify.StateRetrying, notify.StateBounced }, Kept, nil},
		"retrying, ambiguous":                    {inTry("texts", notify.Ambiguous), Resolved, nil},
		"retrying, transient":                    {inTry("texts", notify.Transient), Resolved, nil},
		"retrying, ambiguous at another gateway": {inTry("backup", notify.Ambiguous), Resolved, nil},
		"retrying, of another channel": {func(l *notify.Life, r *notify.Report) {
			inTry("backup", notify.Ambiguous)(l, r)
			l.Channel = notify.ChannelEmail
		}, "", notify.ErrUnknownNotification},
		"delivered by another gateway":      {func(l *notify.Life, _ *notify.Report) { l.State, l.Gateway = notify.StateDelivered, "backup" }, "", notify.ErrUnknownNotification},
		"rejected at another gateway":       {func(l *notify.Life, _ *notify.Report) { l.State, l.Gateway = notify.StateRejected, "backup" }, "", notify.ErrUnknownNotification},
		"an earlier run of another gateway": {func(l *notify.Life, r *notify.Report) { l.Gateway, r.Run = "backup", 1 }, "", notify.ErrUnknownNotification},
		"a later run":                       {func(_ *notify.Life, r *notify.Report) { r.Run = 3 }, Kept, nil},
		"another id":                        {func(l *notify.Life, _ *notify.Report) { l.ID = notify.NewID() }, "", notify.ErrUnknownNotification},
		"another try":                       {func(_ *notify.Life, r *notify.Report) { r.ProviderID = "SM2" }, "", notify.ErrUnknownNotification},
		"another try, by name":              {func(_ *notify.Life, r *notify.Report) { r.NotificationID, r.ProviderID = "", "SM2" }, Kept, nil},
		"another gateway's":                 {func(l *notify.Life, _ *notify.Report) { l.Gateway = "backup" }, "", notify.ErrUnknownNotification},
	} {
		synctest.Test(t, func(t *testing.T) {
			b, said := sent(), delivered()
			c.change(&b.life, &said)
			result, err := take(t, b, said)
			require.ErrorIs(t, err, c.err, name)
			require.Equal(t, c.result, result, name)
			require.Equal(t, c.result == Recorded || c.result == Resolved, len(b.told) == 1, name)
			require.Equal(t, c.result == Kept, len(b.kept) == 1, name)
			switch {
			case c.result == Resolved:
				require.Equal(t, []int{b.life.Run}, b.settled, name)
			case said.Run > b.life.Run && said.State == notify.StateDelivered:
				require.Equal(t, []int{said.Run}, b.settled, "%s: whose job the store does not know yet", name)
			default:
				require.Empty(t, b.settled, name)
			}
			require.Empty(t, b.suppressed, name)
		})
	}
}

func TestAnEarlyReceiptWaitsALittle(t *testing.T) {
	for _, byName := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b, said := sent(), delivered()
			b.life.State = notify.StateQueued
			if byName {
				said.NotificationID = ""
				b.life.ProviderID = ""
			}
			go func() {
				time.Sleep(700 * time.Millisecond)
				b.mu.Lock()
				b.life.ProviderID = "SM1"
				b.mu.Unlock()
				b.become(notify.StateSent)
			}()
			result, err := take(t, b, said)
			require.NoError(t, err)
			require.Equal(t, Recorded, result)

			b.become(notify.StateQueued)
			began := time.Now()
			said.State, b.full = notify.StateBounced, notify.ErrEarly
			_, err = take(t, b, said)
			require.ErrorIs(t, err, notify.ErrEarly, "too many are kept")
			require.Equal(t, patience, time.Since(began))
		})
	}
}

func TestACallerThatLeavesIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := sent()
		b.life.State = notify.StateQueued
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		began := time.Now()
		_, err := desk(b, delivered()).Take(ctx, "texts", nil, nil)
		require.ErrorIs(t, err, notify.ErrEarly)
		require.Empty(t, b.settled)
		require.Empty(t, b.kept)
		require.Equal(t, 10*time.Millisecond, time.Since(began))
	})
}

func TestTheProvidersClock(t *testing.T) {
	now := sentAt.Add(time.Hour)
	for _, c := range []struct{ said, at time.Time }{
		{time.Time{}, now},
		{now.Add(-time.Minute), now.Add(-time.Minute)},
		{now.Add(time.Minute), now},
		{sentAt.Add(-time.Minute), sentAt},
	} {
		said := delivered()
		said.At = c.said
		require.Equal(t, c.at, event(&sent().life, "texts", said, now).At)
	}
}

// Whatever comes is counted, and what is not news changes nothing.
func TestEveryReceiptIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		b := sent()
		boom := errors.New("boom")
		d := &Desk{Lives: b, Teller: b, Metrics: NewMetrics(registry), Readers: map[string]Reader{
			"texts": heard{Report: delivered()}, "forger": heard{err: notify.ErrForged}, "broken": heard{err: notify.Faults{{Pointer: "#"}}},
		}}
		take := func(gateway string, want error) {
			t.Helper()
			_, err := d.Take(t.Context(), gateway, nil, nil)
			require.ErrorIs(t, err, want)
		}
		take("nobody", notify.ErrUnknownGateway)
		take("forger", notify.ErrForged)
		_, err := d.Take(t.Context(), "broken", nil, nil)
		require.ErrorAs(t, err, new(notify.Faults))
		require.Zero(t, b.looked, "nothing is looked for before a signature holds")
		b.err = notify.ErrStatusUnavailable
		take("texts", notify.ErrStatusUnavailable)
		b.err, b.deaf = nil, boom
		take("texts", boom)
		b.deaf = nil
		require.Empty(t, b.told)
		take("texts", nil)
		take("texts", nil)
		require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP laudspeaker_receipts_total What providers said of messages later, by gateway (empty: one that takes none) and by what became of it.
# TYPE laudspeaker_receipts_total counter
laudspeaker_receipts_total{gateway="",result="unknown"} 1
laudspeaker_receipts_total{gateway="broken",result="invalid"} 1
laudspeaker_receipts_total{gateway="forger",result="forged"} 1
laudspeaker_receipts_total{gateway="texts",result="recorded"} 1
laudspeaker_receipts_total{gateway="texts",result="repeated"} 1
laudspeaker_receipts_total{gateway="texts",result="unavailable"} 2
`)))
	})
}

// TestABounceSuppresses: what a worker suppresses on an answer is suppressed on a receipt, before the receipt is news.
func TestABounceSuppresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, said := sent(), delivered()
		said.State, said.Code, said.Reason, said.Gone = notify.StateBounced, "21610", notify.ReasonOptedOut, true
		b.deaf = notify.ErrBusUnavailable
		_, err := take(t, b, said)
		require.ErrorIs(t, err, notify.ErrBusUnavailable)
		require.Empty(t, b.told)
		b.deaf = nil
		result, err := take(t, b, said)
		require.NoError(t, err)
		require.Equal(t, Recorded, result)
		require.Equal(t, []notify.Report{said}, b.suppressed)
		require.Empty(t, b.settled)
	})
}

// TestDesk_AppliesWhatWasKept once the attempt is known, and says what it still waits for.
func TestDesk_AppliesWhatWasKept(t *testing.T) {
	bounced := delivered()
	bounced.State, bounced.Reason, bounced.Gone = notify.StateBounced, notify.ReasonOptedOut, true
	byName := bounced
	byName.NotificationID, byName.Run = "", notify.AnyRun
	laterRun := delivered()
	laterRun.Run = 3
	for name, c := range map[string]struct {
		said  notify.Report
		known func(*notify.Life)
	}{
		"bounced":            {bounced, func(l *notify.Life) { l.State = notify.StateSent }},
		"by name":            {byName, func(l *notify.Life) { l.State, l.ProviderID = notify.StateSent, "SM1" }},
		"of the run to come": {laterRun, func(l *notify.Life) { l.Run, l.State = 3, notify.StateQueued }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := sent()
				b.life.State, b.life.ProviderID = notify.StateQueued, ""
				d, began := desk(b, c.said), time.Now()
				for range 2 {
					err := d.Apply(t.Context(), "texts", c.said)
					require.True(t, errors.Is(err, notify.ErrEarly) || errors.Is(err, errNameless), "%v", err)
				}
				require.Empty(t, b.told)
				require.Empty(t, b.settled)
				require.Equal(t, began, time.Now(), "it does not wait")
				c.known(&b.life)
				for range 2 {
					require.NoError(t, d.Apply(t.Context(), "texts", c.said))
				}
				require.Len(t, b.told, 1)
				require.Equal(t, c.said.State, b.told[0].State)
				require.Equal(t, c.said.Gone, len(b.suppressed) == 1)
			})
		})
	}
}

// TestDesk_DropsWhatBelongsToNoAttempt: of two tries the other one sent the message, or the run ended otherwise.
func TestDesk_DropsWhatBelongsToNoAttempt(t *testing.T) {
	said := delivered()
	said.State = notify.StateBounced
	b := sent()
	b.life.ProviderID = "SM2"
	require.ErrorIs(t, desk(b, said).Apply(t.Context(), "texts", said), notify.ErrUnknownNotification)
	b.life.State = notify.StateDead
	require.NoError(t, desk(b, said).Apply(t.Context(), "texts", said))
	require.Empty(t, b.told)
}
