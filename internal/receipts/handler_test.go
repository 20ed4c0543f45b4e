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

// fakeReader returns its fields as the report and the error of each request.
type fakeReader struct {
	notify.Report
	err error
}

func (h fakeReader) Read(*http.Request, []byte) (notify.Report, error) { return h.Report, h.err }

// fakeStore is a status store with one notification. It records all calls that a handler makes.
type fakeStore struct {
	mu         sync.Mutex
	life       notify.Life
	err        error // of a look
	publishErr error // of publishing, settling and suppressing
	lookups    int
	published  []notify.Event

	settled    []int // runs
	suppressed []notify.Report
	kept       []notify.Report
	keepErr    error // of keeping
}

func (b *fakeStore) Keep(_ context.Context, _ string, report notify.Report) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.keepErr == nil {
		b.kept = append(b.kept, report)
	}
	return b.keepErr
}

func (b *fakeStore) Settle(_ context.Context, id string, run int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.publishErr == nil {
		b.settled = append(b.settled, run)
	}
	return b.publishErr
}

func (b *fakeStore) Suppress(_ context.Context, _ *notify.Life, report notify.Report) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.publishErr == nil {
		b.suppressed = append(b.suppressed, report)
	}
	return b.publishErr
}

func (b *fakeStore) Get(_ context.Context, asked string) (*notify.Life, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lookups++
	if b.err == nil && asked != b.life.ID {
		return nil, notify.ErrUnknownNotification
	}
	life := b.life
	return &life, b.err
}

func (b *fakeStore) FindByProviderID(_ context.Context, gateway, providerID string) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lookups++
	if b.err == nil && (gateway != b.life.Gateway || providerID != b.life.ProviderID) {
		return "", notify.ErrUnknownNotification
	}
	return b.life.ID, b.err
}

// Publish records the event and updates the status as the recorder does.
func (b *fakeStore) Publish(_ context.Context, e notify.Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.publishErr != nil {
		return b.publishErr
	}
	e.Seal()
	b.published = append(b.published, e)
	b.life.State, b.life.Final = e.State, e.Final
	return nil
}

func (b *fakeStore) setState(s notify.State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.life.State = s
}

var sentAt = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func sent() *fakeStore {
	return &fakeStore{life: notify.Life{
		ID: id, Tenant: "acme", Channel: notify.ChannelSMS, Lane: notify.LaneUrgent, Reference: "order 4711", State: notify.StateSent,
		Run: 2, Step: 5, Attempt: 3, Gateway: "texts", ProviderID: "SM1", UpdatedAt: sentAt,
	}}
}

func delivered() notify.Report {
	return notify.Report{NotificationID: id, Run: 2, ProviderID: "SM1", State: notify.StateDelivered}
}

func handle(t testing.TB, b *fakeStore, report notify.Report) (string, error) {
	return newHandler(b, report).Handle(t.Context(), "texts", nil, nil)
}

func newHandler(b *fakeStore, report notify.Report) *Handler {
	return &Handler{
		Readers: map[string]Reader{"texts": fakeReader{Report: report}}, Status: b, Publisher: b, Settler: b, Suppressor: b, Keeper: b,
		Delivers: func(gateway string, ch notify.Channel) bool { return gateway == "texts" && ch == notify.ChannelSMS },
	}
}

func TestHandler_PublishesEachReceiptOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, report := sent(), delivered()
		report.State = notify.StateBounced
		report.Code = "30005"
		report.Reason = notify.ReasonRecipientGone
		result, err := handle(t, b, report)
		require.NoError(t, err)
		require.Equal(t, Recorded, result)
		want := notify.Event{
			NotificationID: id, Run: 2, Step: 5, Attempt: 3, State: notify.StateBounced, At: time.Now(), Tenant: "acme", Channel: notify.ChannelSMS,
			Lane: notify.LaneUrgent, Reference: "order 4711", Gateway: "texts", Code: "30005", Reason: notify.ReasonRecipientGone, ProviderID: "SM1",
		}
		want.Seal()
		require.True(t, want.Final)
		require.Equal(t, []notify.Event{want}, b.published)
		for _, again := range []notify.Report{report, delivered()} {
			result, err = handle(t, b, again)
			require.NoError(t, err)
			require.Equal(t, Repeated, result)
		}
		require.Len(t, b.published, 1)
	})
}

// The result of a receipt for a notification in each state.
func TestHandler_ComparesReceiptWithStatus(t *testing.T) {
	type change func(*notify.Life, *notify.Report)
	in := func(s notify.State) change { return func(l *notify.Life, _ *notify.Report) { l.State = s } }
	inTry := func(gateway string, v notify.Verdict) change {
		return func(l *notify.Life, _ *notify.Report) {
			l.State = notify.StateRetrying
			l.Gateway = gateway
			l.ProviderID = ""
			l.Timeline = []notify.Event{{State: notify.StateRetrying, Tries: []notify.Try{{Gateway: gateway, Verdict: v}}}}
		}
	}
	for name, c := range map[string]struct {
		change change
		result string
		err    error // of reading
	}{
		"sent":                   {func(*notify.Life, *notify.Report) {}, Recorded, nil},
		"closed":                 {func(l *notify.Life, _ *notify.Report) { l.Final = true }, Recorded, nil},
		"held":                   {func(l *notify.Life, _ *notify.Report) { l.State, l.ProviderID = notify.StateHeld, "" }, Recorded, nil},
		"lost":                   {func(l *notify.Life, _ *notify.Report) { l.State = notify.StateLost; l.ProviderID, l.Gateway = "", "" }, Recorded, nil},
		"no word of the run":     {func(_ *notify.Life, r *notify.Report) { r.Run = notify.AnyRun }, Recorded, nil},
		"no name of the message": {func(_ *notify.Life, r *notify.Report) { r.ProviderID = "" }, Recorded, nil},
		"no id":                  {func(_ *notify.Life, r *notify.Report) { r.NotificationID = "" }, Recorded, nil},
		"delivered":              {in(notify.StateDelivered), Repeated, nil},
		"bounced":                {in(notify.StateBounced), Repeated, nil},
		"bounced, twice": {func(l *notify.Life, r *notify.Report) {
			l.State, r.State = notify.StateBounced, notify.StateBounced
		}, Repeated, nil},
		"delivered, then bounced": {func(l *notify.Life, r *notify.Report) {
			l.State = notify.StateDelivered
			l.Final = true
			r.State = notify.StateBounced
		}, Recorded, nil},
		"delivered by another gateway, then bounced": {func(l *notify.Life, r *notify.Report) {
			l.State = notify.StateDelivered
			l.Gateway = "backup"
			r.State = notify.StateBounced
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
			l.State = notify.StateQueued
			l.Gateway = ""
			l.Channel = notify.ChannelEmail
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
			b, report := sent(), delivered()
			c.change(&b.life, &report)
			result, err := handle(t, b, report)
			require.ErrorIs(t, err, c.err, name)
			require.Equal(t, c.result, result, name)
			require.Equal(t, c.result == Recorded || c.result == Resolved, len(b.published) == 1, name)
			require.Equal(t, c.result == Kept, len(b.kept) == 1, name)
			switch {
			case c.result == Resolved:
				require.Equal(t, []int{b.life.Run}, b.settled, name)
			case report.Run > b.life.Run && report.State == notify.StateDelivered:
				require.Equal(t, []int{report.Run}, b.settled, "%s: whose job the store does not know yet", name)
			default:
				require.Empty(t, b.settled, name)
			}
			require.Empty(t, b.suppressed, name)
		})
	}
}

func TestHandler_EarlyReceiptWaitsForItsAttempt(t *testing.T) {
	for _, byName := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b, report := sent(), delivered()
			b.life.State = notify.StateQueued
			if byName {
				report.NotificationID = ""
				b.life.ProviderID = ""
			}
			go func() {
				time.Sleep(700 * time.Millisecond)
				b.mu.Lock()
				b.life.ProviderID = "SM1"
				b.mu.Unlock()
				b.setState(notify.StateSent)
			}()
			result, err := handle(t, b, report)
			require.NoError(t, err)
			require.Equal(t, Recorded, result)

			b.setState(notify.StateQueued)
			began := time.Now()
			report.State, b.keepErr = notify.StateBounced, notify.ErrEarly
			_, err = handle(t, b, report)
			require.ErrorIs(t, err, notify.ErrEarly, "too many are kept")
			require.Equal(t, earlyWait, time.Since(began))
		})
	}
}

func TestHandler_EndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := sent()
		b.life.State = notify.StateQueued
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		began := time.Now()
		_, err := newHandler(b, delivered()).Handle(ctx, "texts", nil, nil)
		require.ErrorIs(t, err, notify.ErrEarly)
		require.Empty(t, b.settled)
		require.Empty(t, b.kept)
		require.Equal(t, 10*time.Millisecond, time.Since(began))
	})
}

func TestNewEvent_LimitsTheProvidersTime(t *testing.T) {
	now := sentAt.Add(time.Hour)
	for _, c := range []struct{ report, at time.Time }{
		{time.Time{}, now},
		{now.Add(-time.Minute), now.Add(-time.Minute)},
		{now.Add(time.Minute), now},
		{sentAt.Add(-time.Minute), sentAt},
	} {
		report := delivered()
		report.At = c.report
		require.Equal(t, c.at, newEvent(&sent().life, "texts", report, now).At)
	}
}

// Every receipt is counted, and a repeated receipt changes nothing.
func TestHandler_CountsEveryReceipt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		b := sent()
		boom := errors.New("boom")
		d := &Handler{Status: b, Publisher: b, Metrics: NewMetrics(registry), Readers: map[string]Reader{
			"texts": fakeReader{Report: delivered()}, "forger": fakeReader{err: notify.ErrForged}, "broken": fakeReader{err: notify.Faults{{Pointer: "#"}}},
		}}
		handle := func(gateway string, want error) {
			t.Helper()
			_, err := d.Handle(t.Context(), gateway, nil, nil)
			require.ErrorIs(t, err, want)
		}
		handle("nobody", notify.ErrUnknownGateway)
		handle("forger", notify.ErrForged)
		_, err := d.Handle(t.Context(), "broken", nil, nil)
		require.ErrorAs(t, err, new(notify.Faults))
		require.Zero(t, b.lookups, "the store is not read before the signature is verified")
		b.err = notify.ErrStatusUnavailable
		handle("texts", notify.ErrStatusUnavailable)
		b.err, b.publishErr = nil, boom
		handle("texts", boom)
		b.publishErr = nil
		require.Empty(t, b.published)
		handle("texts", nil)
		handle("texts", nil)
		require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP laudspeaker_receipts_total What providers report of messages later, by gateway (empty: one that takes none) and by what became of it.
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

// A receipt suppresses a recipient for the same reasons as a provider's response, and before its event is published.
func TestHandler_BounceSuppressesRecipient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, report := sent(), delivered()
		report.State = notify.StateBounced
		report.Code = "21610"
		report.Reason = notify.ReasonOptedOut
		report.Gone = true
		b.publishErr = notify.ErrBusUnavailable
		_, err := handle(t, b, report)
		require.ErrorIs(t, err, notify.ErrBusUnavailable)
		require.Empty(t, b.published)
		b.publishErr = nil
		result, err := handle(t, b, report)
		require.NoError(t, err)
		require.Equal(t, Recorded, result)
		require.Equal(t, []notify.Report{report}, b.suppressed)
		require.Empty(t, b.settled)
	})
}

// A kept receipt is applied once its attempt is known; until then Apply returns an error.
func TestHandler_AppliesKeptReceipt(t *testing.T) {
	bounced := delivered()
	bounced.State = notify.StateBounced
	bounced.Reason = notify.ReasonOptedOut
	bounced.Gone = true
	byName := bounced
	byName.NotificationID, byName.Run = "", notify.AnyRun
	laterRun := delivered()
	laterRun.Run = 3
	for name, c := range map[string]struct {
		report notify.Report
		known  func(*notify.Life)
	}{
		"bounced":            {bounced, func(l *notify.Life) { l.State = notify.StateSent }},
		"by name":            {byName, func(l *notify.Life) { l.State, l.ProviderID = notify.StateSent, "SM1" }},
		"of the run to come": {laterRun, func(l *notify.Life) { l.Run, l.State = 3, notify.StateQueued }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := sent()
				b.life.State, b.life.ProviderID = notify.StateQueued, ""
				d, began := newHandler(b, c.report), time.Now()
				for range 2 {
					err := d.Apply(t.Context(), "texts", c.report)
					require.True(t, errors.Is(err, notify.ErrEarly) || errors.Is(err, errUnknownProviderID), "%v", err)
				}
				require.Empty(t, b.published)
				require.Empty(t, b.settled)
				require.Equal(t, began, time.Now(), "Apply does not wait")
				c.known(&b.life)
				for range 2 {
					require.NoError(t, d.Apply(t.Context(), "texts", c.report))
				}
				require.Len(t, b.published, 1)
				require.Equal(t, c.report.State, b.published[0].State)
				require.Equal(t, c.report.Gone, len(b.suppressed) == 1)
			})
		})
	}
}

// A receipt has no attempt if, of two tries, the other one sent the message, or if the run has ended in another state.
func TestHandler_DropsReceiptWithoutAttempt(t *testing.T) {
	report := delivered()
	report.State = notify.StateBounced
	b := sent()
	b.life.ProviderID = "SM2"
	require.ErrorIs(t, newHandler(b, report).Apply(t.Context(), "texts", report), notify.ErrUnknownNotification)
	b.life.State = notify.StateDead
	require.NoError(t, newHandler(b, report).Apply(t.Context(), "texts", report))
	require.Empty(t, b.published)
}
