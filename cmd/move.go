package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/laudspeaker/laudspeaker/internal/deadletters"
	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// move takes what is left in one Kafka to topics of the same names in another, each record once it is acknowledged there.
type move struct {
	topics   dispatcher.Topics
	desk     dispatcher.Desk
	source   *kafka.Reader
	cluster  string
	publish  func(ctx context.Context, ms []kafka.Message) []error // nil: count only
	progress *progress

	there, jobs, held, waiting, letters, redriven int // topics, and what was moved; of letters also those that stay
}

// shelf is a topic to be moved, and the group that keeps count of what of it is done.
type shelf struct {
	topic, group string
	channel      notify.Channel
	lane         notify.Lane // empty: no jobs to be sent
	ledger       string      // empty: outcomes say nothing of it
	moved        *int
	skip         *deadletters.LetterSet // records that stay; may be nil
	to           string                 // the topic in the other Kafka; empty: of the same name
}

func (m *move) run(ctx context.Context) (err error) {
	if m.cluster, err = m.source.ClusterID(); err != nil {
		return err
	}
	existing, err := m.source.Topics()
	if err != nil {
		return err
	}
	m.topics = m.topics.WithExisting(existing)
	for _, ch := range m.topics.Channels() {
		for _, s := range m.shelves(m.topics, ch) {
			if err := m.shelf(ctx, s); err != nil {
				return err
			}
		}
	}
	if m.there == 0 {
		return fmt.Errorf("the log has no topic such as %s: kafka.prefix and channels.*.topic have to be what they were", m.topics.Channel(m.topics.Channels()[0]))
	}
	return nil
}

// shelves are a channel's topics in the order in which they are moved: what is most urgent first.
func (m *move) shelves(topics dispatcher.Topics, ch notify.Channel) (all []shelf) {
	for _, lane := range notify.Lanes() {
		all = append(all, shelf{topic: topics.Job(ch, lane), group: topics.Group(ch, lane), channel: ch, lane: lane, ledger: topics.Status(), moved: &m.jobs})
	}
	for _, tier := range topics.Ladder(ch) {
		s := shelf{topic: tier.Topic, group: tier.Group, channel: ch, ledger: topics.Status(), moved: &m.waiting}
		if tier.Drained { // the other Kafka has no such topic; from its shortest tier a job finds its way
			s.to = topics.Delay(ch, notify.LaneNormal, 0)
		}
		all = append(all, s)
	}
	return append(all, shelf{topic: topics.DeadLetters(ch), group: topics.Prefix + "laudspeaker.move", channel: ch, moved: &m.letters})
}

func (m *move) summary() string {
	form := "moved %s jobs, %s waiting, %s dead letters"
	if m.publish == nil {
		form = "would move %s jobs, %s waiting, %s dead letters"
	}
	text := fmt.Sprintf(form, thousands(int64(m.jobs)), thousands(int64(m.waiting)), thousands(int64(m.letters)))
	if m.held > 0 {
		text += fmt.Sprintf("; %s are held as dead letters: nobody knows whether they were sent", thousands(int64(m.held)))
	}
	if m.redriven > 0 {
		text += fmt.Sprintf(" (%s more were redriven already and stay)", thousands(int64(m.redriven)))
	}
	return text
}

// leftBehind names what stays because its channel is off: there are no topics for it.
func (m *move) leftBehind(ctx context.Context, every dispatcher.Topics, said io.Writer) error {
	rest := &move{topics: every, desk: dispatcher.Desk{Topics: every}, source: m.source, cluster: m.cluster, progress: newProgress(io.Discard)}
	var off []string
	for _, ch := range every.Channels() {
		if m.topics.Channel(ch) != "" {
			continue
		}
		off = append(off, string(ch))
		for _, s := range rest.shelves(every, ch) {
			if err := rest.shelf(ctx, s); err != nil {
				return err
			}
		}
	}
	if n := rest.jobs + rest.held + rest.waiting + rest.letters; n > 0 {
		fmt.Fprintf(said, "%s records of channels without a gateway stay behind (%s): configure the gateway and run it again\n", thousands(int64(n)), strings.Join(off, ", "))
	}
	return nil
}

// shelf moves what is left of one topic.
func (m *move) shelf(ctx context.Context, s shelf) error {
	bounds, err := m.source.Bounds(s.topic)
	if errors.Is(err, kafka.ErrNoTopic) { // the log may be older than the topic
		return nil
	}
	if err != nil {
		return err
	}
	m.there++
	if s.ledger == "" { // dead letters
		reading := func(topic string) { m.progress.add(1, "reading "+topic+" for what was redriven") }
		if s.skip, err = deadletters.ReadRedriven(ctx, m.source, m.topics.Status(), map[string][]kafka.Bounds{s.topic: bounds}, reading); err != nil {
			return err
		}
	}
	for _, b := range bounds {
		rest, err := m.source.Remainder(ctx, s.group, s.topic, b, s.ledger)
		if err != nil {
			return err
		}
		if err := m.part(ctx, s, b, rest); err != nil {
			return err
		}
	}
	return nil
}

// part moves what is left of one partition, batch by batch, and commits each once it is acknowledged.
func (m *move) part(ctx context.Context, s shelf, b kafka.Bounds, rest *kafka.Remainder) error {
	p := &movedPart{move: m, shelf: s, rest: rest}
	err := m.source.Scan(ctx, s.topic, []kafka.Bounds{b}, func(r *kafka.Record) error {
		r.Cluster = m.cluster
		identify := func() string { return m.desk.Identify(r) }
		if !rest.Left(r, identify) {
			return nil
		}
		return p.add(ctx, r, s.lane != "" && rest.InDoubt(r, identify))
	})
	if err != nil {
		return err
	}
	return p.flush(ctx)
}
