package deadletters_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/deadletters"
	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/rcrowley/go-metrics.(*meterArbiter).tick")) // of the admin client of the tests
}

// fixture is a Kafka with dead letters of two channels.
type fixture struct {
	t         *testing.T
	topics    dispatcher.Topics
	scanner   *deadletters.Scanner
	publisher *kafka.Publisher
	lives     lives
}

// lives is a status store with the statuses that a test sets.
type lives struct {
	known map[string]*notify.Life
	err   error
}

func (l *lives) Get(_ context.Context, id string) (*notify.Life, error) {
	if l.err != nil {
		return nil, l.err
	}
	if life, ok := l.known[id]; ok {
		return life, nil
	}
	return nil, fmt.Errorf("get: %w", notify.ErrUnknownNotification)
}

func newFixture(t *testing.T) *fixture {
	brokers := kafkatest.Brokers(t)
	y := &fixture{t: t, lives: lives{known: map[string]*notify.Life{}}}
	y.topics = dispatcher.Topics{Prefix: kafkatest.Name(t) + ".", Jobs: map[notify.Channel]string{notify.ChannelEmail: "email_topic", notify.ChannelSMS: "sms_topic"}}
	t.Cleanup(func() { kafkatest.Drop(brokers, y.topics.Prefix) })
	cfg := kafka.Config{Brokers: brokers}
	var specs []kafka.TopicSpec
	for _, s := range y.topics.Specs(3, 1<<20) {
		specs = append(specs, kafka.TopicSpec{Name: s.Name, Partitions: int(s.Partitions), MaxMessageBytes: s.MaxMessageBytes, Retention: s.Retention})
	}
	_, err := kafka.Ensure(t.Context(), cfg, specs, true)
	require.NoError(t, err)
	reader, err := kafka.NewReader(cfg)
	require.NoError(t, err)
	t.Cleanup(reader.Close)
	y.scanner = &deadletters.Scanner{Topics: y.topics, Reader: reader, Lifetimes: map[notify.Lane]time.Duration{notify.LaneNormal: time.Hour}}
	y.publisher = kafka.NewPublisher(cfg, kafka.PublisherConfig{Log: zap.NewNop()})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = y.publisher.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	require.Eventually(t, func() bool { return y.publisher.Ready() == nil }, time.Minute, 5*time.Millisecond)
	return y
}

func (y *fixture) service() *deadletters.Service {
	return deadletters.NewService(y.scanner, deadletters.StatusChecker{StatusGetter: &y.lives}, y.publisher.PublishAll)
}

func idOf(n int) string { return fmt.Sprintf("0190163d-8694-739b-aea5-%012d", n) }

// bury writes a dead letter to a partition. The id of its notification contains the number n.
func (y *fixture) bury(ch notify.Channel, partition int32, n int, reason string, headers ...string) {
	y.t.Helper()
	recipient := map[notify.Channel]string{notify.ChannelEmail: "ada@example.com", notify.ChannelSMS: "+14155550100"}[ch]
	job := &kafka.Record{Topic: y.topics.Channel(ch), Partition: partition, Offset: int64(n), Timestamp: time.Now(), Key: []byte("k"), Value: fmt.Appendf(nil,
		`{"id":%q,"recipient":%q,"payload":{"text":"secret words"}}`, idOf(n), recipient)}
	for i := 0; i < len(headers); i += 2 {
		job.Headers = append(job.Headers, kafka.Header{Key: headers[i], Value: []byte(headers[i+1])})
	}
	e := notify.Event{NotificationID: idOf(n), State: notify.StateDead, At: time.Now(), Channel: ch, Lane: notify.LaneNormal, Code: "451", Gateway: "mail"}
	m := dispatcher.Desk{Topics: y.topics}.Bury(job, e, reason).Follow[0]
	m.Partition = partition
	require.Equal(y.t, []error{nil}, y.publisher.PublishAll(y.t.Context(), []kafka.Message{m}))
}

// jobs returns "number/run" of each job on the topic of a channel.
func (y *fixture) jobs(ch notify.Channel) (runs []string) {
	y.t.Helper()
	bounds, err := y.scanner.Reader.Bounds(y.topics.Channel(ch))
	require.NoError(y.t, err)
	require.NoError(y.t, y.scanner.Reader.Scan(y.t.Context(), y.topics.Channel(ch), bounds, func(r *kafka.Record) error {
		id, _ := r.Header(notify.HeaderID)
		run, _ := r.Header(notify.HeaderRun)
		n, _ := strconv.Atoi(id[len(id)-12:])
		runs = append(runs, fmt.Sprintf("%d/%s", n, run))
		return nil
	}))
	return runs
}

// numbersOf returns the numbers of the notifications of a page.
func numbersOf(page notify.Letters) (all []int) {
	for _, l := range page.Data {
		n, _ := strconv.Atoi(l.ID[len(l.ID)-12:])
		all = append(all, n)
	}
	return all
}

// pages reads a list to its end, and returns the numbers of all letters and the count of pages.
func (y *fixture) pages(s *deadletters.Service, f notify.LetterFilter, limit int) (all []int, pages int) {
	y.t.Helper()
	cursor := ""
	for {
		page, err := s.List(y.t.Context(), f, cursor, limit)
		require.NoError(y.t, err)
		require.LessOrEqual(y.t, len(page.Data), limit)
		all, pages = append(all, numbersOf(page)...), pages+1
		cursor = page.Next
		if cursor == "" {
			return all, pages
		}
	}
}

func TestService_ListContinuesAtItsCursor(t *testing.T) {
	y := newFixture(t)
	s := y.service()
	page, err := s.List(t.Context(), notify.LetterFilter{}, "", 5)
	require.NoError(t, err)
	require.Equal(t, notify.Letters{}, page, "there is no dead letter")
	for i := range 9 { // 1 to 9: three on each partition
		y.bury(notify.ChannelEmail, int32(i/3), i+1, notify.ReasonAttemptsUsedUp)
	}
	y.bury(notify.ChannelSMS, 1, 10, "550 go away")
	every := []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	for limit := 1; limit <= 11; limit++ {
		all, _ := y.pages(s, notify.LetterFilter{}, limit)
		require.Equal(t, every, all, limit)
	}
	all, _ := y.pages(s, notify.LetterFilter{Channels: []notify.Channel{notify.ChannelSMS, notify.ChannelEmail}}, 4)
	require.Equal(t, append([]int{10}, every[:9]...), all, "in the requested order")
	all, _ = y.pages(s, notify.LetterFilter{Reason: "GO"}, 4)
	require.Equal(t, []int{10}, all)
	all, _ = y.pages(s, notify.LetterFilter{Recipient: "Ada <ada@EXAMPLE.com>"}, 4)
	require.Equal(t, every[:9], all)
	partition, from, to := int32(1), int64(1), int64(1)
	all, _ = y.pages(s, notify.LetterFilter{Partition: &partition}, 1)
	require.Equal(t, []int{4, 5, 6, 10}, all)
	all, _ = y.pages(s, notify.LetterFilter{Partition: &partition, From: &from, To: &to}, 1)
	require.Equal(t, []int{5}, all)

	page, err = s.List(t.Context(), notify.LetterFilter{}, "", 1)
	require.NoError(t, err)
	l := page.Data[0]
	require.Equal(t, []any{idOf(1), notify.StateDead, "attempts_used_up", "451", "mail", "a***@example.com"}, []any{l.ID, l.State, l.Reason, l.Code, l.Gateway, l.Recipient})
	require.Equal(t, notify.Origin{Topic: y.topics.DeadLetters(notify.ChannelEmail)}, l.Letter)

	for _, cursor := range []string{"x", "ZmF4LzEvMg", "ZW1haWwvLTEvMg", "ZW1haWw"} {
		_, err := s.List(t.Context(), notify.LetterFilter{}, cursor, 1)
		require.ErrorIs(t, err, notify.ErrBadCursor, cursor)
	}
	_, err = s.List(t.Context(), notify.LetterFilter{Channels: []notify.Channel{notify.ChannelSMS}}, page.Next, 1)
	require.ErrorIs(t, err, notify.ErrBadCursor, "a cursor of another list")
	var faults notify.Faults
	_, err = s.List(t.Context(), notify.LetterFilter{Channels: []notify.Channel{notify.ChannelSMS}, Recipient: "ada@example.com"}, "", 1)
	require.ErrorAs(t, err, &faults)
}

// A request reads at most its budget, whatever the filter matches. The next request continues.
func TestService_RequestReadsBoundedNumberOfRecords(t *testing.T) {
	y := newFixture(t)
	s := y.service().Bounded(2)
	for i := range 5 {
		y.bury(notify.ChannelEmail, 0, i+1, map[bool]string{true: "rare", false: "common"}[i == 4])
	}
	all, pages := y.pages(s, notify.LetterFilter{Reason: "rare"}, 50)
	require.Equal(t, []int{5}, all)
	require.Equal(t, 3, pages, "two of them empty")
}

func TestService_StatusDecidesWhichLettersAreRedriven(t *testing.T) {
	y := newFixture(t)
	s := y.service()
	for n := 1; n <= 9; n++ {
		y.bury(notify.ChannelEmail, 0, n, notify.ReasonAttemptsUsedUp)
	}
	y.bury(notify.ChannelEmail, 1, 10, notify.ReasonAttemptsUsedUp, notify.HeaderExpiresAt, "2020-01-01T00:00:00Z")
	letter := func(offset int64) *notify.Origin {
		return &notify.Origin{Topic: y.topics.DeadLetters(notify.ChannelEmail), Offset: offset}
	}
	for n, life := range map[int]notify.Life{
		1: {State: notify.StateDead},
		2: {State: notify.StateSent},
		3: {State: notify.StateDelivered, Run: 1},
		4: {State: notify.StateRetrying, Run: 1},
		5: {State: notify.StateDead, Timeline: []notify.Event{{Note: notify.NoteRedriven, Origin: letter(4)}}},
		6: {State: notify.StateDead, Timeline: []notify.Event{{Note: notify.NoteRedriven, Origin: letter(77)}, {Note: "stuck"}}},
		7: {State: notify.StateDead, Expunged: true},
		8: {State: notify.StateHeld},
	} {
		y.lives.known[idOf(n)] = &life
	}
	page, err := s.List(t.Context(), notify.LetterFilter{}, "", 50)
	require.NoError(t, err)
	require.Equal(t, []int{1, 2, 3, 6, 8, 9, 10}, numbersOf(page), "without redriven and expunged notifications")
	require.Equal(t, []bool{false, true, true, false}, []bool{page.Data[0].Sent, page.Data[1].Sent, page.Data[2].Sent, page.Data[3].Sent})

	dry, err := s.Redrive(t.Context(), notify.Redrive{DryRun: true, Limit: 100})
	require.NoError(t, err)
	require.Empty(t, y.jobs(notify.ChannelEmail), "nothing is published")
	done, err := s.Redrive(t.Context(), notify.Redrive{Limit: 100})
	require.NoError(t, err)
	require.Equal(t, dry, done, "the same result as the dry run")
	require.Equal(t, 4, done.Redriven)
	require.Equal(t, []string{"1/1", "6/1", "8/1", "9/1"}, y.jobs(notify.ChannelEmail))
	whys := map[string]string{}
	for _, skipped := range done.Skipped {
		whys[skipped.ID] = skipped.Why
	}
	require.Equal(t, map[string]string{idOf(2): "sent", idOf(3): "sent", idOf(4): "redriven", idOf(5): "redriven", idOf(7): "expunged", idOf(10): "expired"}, whys)

	done, err = s.Redrive(t.Context(), notify.Redrive{LetterFilter: notify.LetterFilter{IDs: []string{idOf(10)}}, ExpiresIn: time.Hour, Limit: 1})
	require.NoError(t, err)
	require.Equal(t, 1, done.Redriven)

	y.lives.err = errors.New("away")
	_, err = s.List(t.Context(), notify.LetterFilter{}, "", 50)
	require.ErrorIs(t, err, notify.ErrStatusUnavailable)
	_, err = s.Redrive(t.Context(), notify.Redrive{Limit: 100})
	require.ErrorIs(t, err, notify.ErrStatusUnavailable)
	require.Len(t, y.jobs(notify.ChannelEmail), 5, "a notification that may have been sent is not sent again")
}

// A letter that holds a record batch stands for unknown notifications: it is listed, but never redriven. The letter of a
// handler that panicked is redriven like any other letter.
func TestService_BatchIsNotRedrivenAndPanickedLetterIs(t *testing.T) {
	y := newFixture(t)
	s := y.service()
	y.bury(notify.ChannelEmail, 0, 1, notify.ReasonPanicked)
	batch := dispatcher.Desk{Topics: y.topics}.Undecodable(&kafka.UndecodableBatch{
		Record: &kafka.Record{Topic: y.topics.Channel(notify.ChannelEmail), Offset: 7, Value: []byte("\x00\x01secret words")}, LastOffset: 11, Count: 5,
	})
	require.Equal(t, []error{nil}, y.publisher.PublishAll(t.Context(), []kafka.Message{batch}))
	page, err := s.List(t.Context(), notify.LetterFilter{Reason: notify.ReasonUndecodableBatch}, "", 50)
	require.NoError(t, err)
	require.Len(t, page.Data, 1)
	id := page.Data[0].ID
	require.NotEmpty(t, id)
	for range 2 {
		done, err := s.Redrive(t.Context(), notify.Redrive{LetterFilter: notify.LetterFilter{IDs: []string{id}}, Limit: 10})
		require.NoError(t, err)
		require.Zero(t, done.Redriven)
		require.Len(t, done.Skipped, 1)
		require.Equal(t, []string{id, notify.SkipBatch}, []string{done.Skipped[0].ID, done.Skipped[0].Why})
	}
	done, err := s.Redrive(t.Context(), notify.Redrive{Limit: 10})
	require.NoError(t, err)
	require.Equal(t, 1, done.Redriven)
	require.Equal(t, []string{"1/1"}, y.jobs(notify.ChannelEmail))
}

// The limit counts all letters that are looked at, so that each response is bounded. Redriving page after page redrives each
// letter once.
func TestService_RedriveContinuesAtItsCursor(t *testing.T) {
	y := newFixture(t)
	s := y.service()
	for n := 1; n <= 7; n++ {
		y.bury(notify.ChannelEmail, int32(n%3), n, notify.ReasonAttemptsUsedUp)
	}
	y.lives.known[idOf(3)] = &notify.Life{State: notify.StateSent}
	q, total, requests := notify.Redrive{Limit: 2}, 0, 0
	for {
		done, err := s.Redrive(t.Context(), q)
		require.NoError(t, err)
		require.LessOrEqual(t, done.Redriven+len(done.Skipped), 2)
		total, requests = total+done.Redriven, requests+1
		q.Cursor = done.Next
		if q.Cursor == "" {
			break
		}
	}
	require.Equal(t, 6, total)
	require.GreaterOrEqual(t, requests, 4)
	require.ElementsMatch(t, []string{"1/1", "2/1", "4/1", "5/1", "6/1", "7/1"}, y.jobs(notify.ChannelEmail))
}

// While Kafka accepts nothing, the request fails, and no event says that a letter was redriven.
func TestService_FailedRedrivePublishesNoEvent(t *testing.T) {
	y := newFixture(t)
	y.bury(notify.ChannelEmail, 0, 1, notify.ReasonAttemptsUsedUp)
	var published []kafka.Message
	s := deadletters.NewService(y.scanner, nil, func(_ context.Context, ms []kafka.Message) []error {
		published = append(published, ms...)
		errs := make([]error, len(ms))
		for i := range errs {
			errs[i] = errors.New("the cause")
		}
		return errs
	})
	done, err := s.Redrive(t.Context(), notify.Redrive{Limit: 10})
	require.ErrorIs(t, err, notify.ErrBusUnavailable)
	require.Zero(t, done.Redriven)
	require.Len(t, published, 1, "the job, and no event")
}
