package dispatcher

import (
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Topics names every topic and group, prefix before each.
type Topics struct {
	Prefix string
	Jobs   map[notify.Channel]string // the configured channels and the names of their topics, without the prefix
}

// Job is the topic of a channel's jobs; empty when the channel is not configured.
func (t Topics) Job(ch notify.Channel) string {
	if t.Jobs[ch] == "" {
		return ""
	}
	return t.Prefix + t.Jobs[ch]
}

// DeadLetters is the topic of a channel's dead letters.
func (t Topics) DeadLetters(ch notify.Channel) string { return t.Job(ch) + ".dlq" }

// Status is the topic of events. It is the ledger of the workers too.
func (t Topics) Status() string { return t.Prefix + "status_topic" }

// Group is the consumer group of a channel's workers.
func (t Topics) Group(ch notify.Channel) string {
	return t.Prefix + "laudspeaker." + string(ch) + "." + string(notify.LaneNormal)
}

// Channels lists the configured channels, in the order in which they are shown to people.
func (t Topics) Channels() []notify.Channel {
	var on []notify.Channel
	for _, ch := range notify.Channels() {
		if t.Job(ch) != "" {
			on = append(on, ch)
		}
	}
	return on
}

// How long records are kept, and over how few partitions dead letters spread.
const (
	keepJobs        = 14 * 24 * time.Hour
	keepDeadLetters = 30 * 24 * time.Hour
	fewPartitions   = 3
)

// TopicSpec is a topic as it should be. The replication factor is the brokers' or the configuration's business.
type TopicSpec struct {
	Name            string
	Partitions      int32
	Retention       time.Duration
	MaxMessageBytes int
}

// Specs lists the topics that the configured channels need, each of them read by something: jobs, dead letters, events.
func (t Topics) Specs(partitions int32, maxMessageBytes int) []TopicSpec {
	var specs []TopicSpec
	for _, ch := range t.Channels() {
		specs = append(specs,
			TopicSpec{t.Job(ch), partitions, keepJobs, maxMessageBytes},
			TopicSpec{t.DeadLetters(ch), min(partitions, fewPartitions), keepDeadLetters, maxMessageBytes})
	}
	return append(specs, TopicSpec{t.Status(), partitions, keepJobs, maxMessageBytes})
}
