package dispatcher

import (
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Topics names every topic and group, prefix before each.
type Topics struct {
	Prefix string
	Jobs   map[notify.Channel]string // the configured channels and the names of their topics, without the prefix
	Tiers  Tiers                     // of the delay ladder; DefaultTiers when empty

	// Tiers that are not configured any more and whose topics still exist, see [Topics.WithExisting].
	Drained, DrainedUrgent map[notify.Channel]Tiers
}

// Channel is the topic of a channel's jobs of lane normal, by which all its topics are named; empty when the channel is not
// configured.
func (t Topics) Channel(ch notify.Channel) string {
	if t.Jobs[ch] == "" {
		return ""
	}
	return t.Prefix + t.Jobs[ch]
}

// Job is the topic of a channel's jobs of a lane; empty when the channel is not configured.
func (t Topics) Job(ch notify.Channel, lane notify.Lane) string {
	name := t.Channel(ch)
	if name == "" || lane == notify.LaneNormal || lane == "" {
		return name
	}
	return name + "." + string(lane)
}

// DeadLetters is the topic of a channel's dead letters, of all lanes.
func (t Topics) DeadLetters(ch notify.Channel) string { return t.Channel(ch) + ".dlq" }

// FollowOns lists the topics in which jobs of a channel go on when they leave their lane: the ladder and the dead letters.
func (t Topics) FollowOns(ch notify.Channel) []string {
	var names []string
	for _, tier := range t.Ladder(ch) {
		names = append(names, tier.Topic)
	}
	return append(names, t.DeadLetters(ch))
}

// Status is the topic of events. It is the ledger of the workers too.
func (t Topics) Status() string { return t.Prefix + "status_topic" }

// Control is the topic of what operators and callers tell all workers.
func (t Topics) Control() string { return t.Prefix + "control_topic" }

// Group is the consumer group of the workers of a channel's lane.
func (t Topics) Group(ch notify.Channel, lane notify.Lane) string {
	return t.Prefix + "laudspeaker." + string(ch) + "." + string(lane)
}

// RecorderGroup is the group that says how far the status store has read; nobody is a member of it.
func (t Topics) RecorderGroup() string { return t.Prefix + "laudspeaker.recorder" }

// Channels lists the configured channels, in the order in which they are shown to people.
func (t Topics) Channels() []notify.Channel {
	var on []notify.Channel
	for _, ch := range notify.Channels() {
		if t.Channel(ch) != "" {
			on = append(on, ch)
		}
	}
	return on
}

// Recorded lists what the status store is filled from.
func (t Topics) Recorded() []string {
	names := []string{t.Status()}
	for _, ch := range t.Channels() {
		for _, lane := range notify.Lanes() {
			names = append(names, t.Job(ch, lane))
		}
	}
	return names
}

// Readers gives the groups that read each topic, none for what no group reads.
func (t Topics) Readers() map[string][]string {
	readers := map[string][]string{t.Status(): nil}
	for _, ch := range t.Channels() {
		for _, lane := range notify.Lanes() {
			readers[t.Job(ch, lane)] = []string{t.Group(ch, lane)}
		}
		for _, tier := range t.Ladder(ch) {
			readers[tier.Topic] = []string{tier.Group}
		}
	}
	return readers
}

// How long records are kept, and over how few partitions dead letters and what waits are spread.
const (
	keepJobs        = 14 * 24 * time.Hour
	keepDeadLetters = 30 * 24 * time.Hour
	fewPartitions   = 3
)

// TopicSpec is a topic as it should be. The replication factor is the brokers' or the configuration's business.
type TopicSpec struct {
	Name            string
	Partitions      int32
	Retention       time.Duration // 0: it is compacted, and kept for ever
	MaxMessageBytes int
	AppendTime      bool // its records bear the time at which the broker took them
}

// Specs lists the topics that the configured channels need, each of them read by something: jobs of each lane, what waits,
// dead letters, events, and what all workers are told.
func (t Topics) Specs(partitions int32, maxMessageBytes int) []TopicSpec {
	few := min(partitions, fewPartitions)
	var specs []TopicSpec
	for _, ch := range t.Channels() {
		for _, lane := range notify.Lanes() {
			specs = append(specs, TopicSpec{t.Job(ch, lane), partitions, keepJobs, maxMessageBytes, false})
		}
		for _, tier := range t.Ladder(ch) {
			if !tier.Drained {
				specs = append(specs, TopicSpec{tier.Topic, few, tier.Length + keepJobs, maxMessageBytes, true})
			}
		}
		specs = append(specs, TopicSpec{t.DeadLetters(ch), few, keepDeadLetters, maxMessageBytes, false})
	}
	return append(specs,
		TopicSpec{t.Status(), partitions, keepJobs, maxMessageBytes, false},
		TopicSpec{t.Control(), 1, 0, maxMessageBytes, false})
}
