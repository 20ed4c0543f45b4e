package dispatcher

import (
	"slices"
	"strings"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Tiers are the steps of the delay ladder, in rising order. A job waits in one tier after another: always in the longest
// tier that is not longer than the remaining wait. Every tier but the shortest is therefore FIFO by due time. The shortest
// tier also takes all shorter waits; its mover orders the jobs by due time ([Mover]).
type Tiers []time.Duration

// DefaultTiers are the contract's.
func DefaultTiers() Tiers {
	return Tiers{
		5 * time.Second, 30 * time.Second, 3 * time.Minute, 20 * time.Minute, 2 * time.Hour, 12 * time.Hour, 72 * time.Hour,
	}
}

// For returns the tier for a job that is due after the remaining time.
func (ts Tiers) For(remaining time.Duration) time.Duration {
	tier := ts[0]
	for _, t := range ts[1:] {
		if t <= remaining {
			tier = t
		}
	}
	return tier
}

// keeps returns the longest wait that the shortest tier holds without writing the job again: below the length of the next tier.
func (ts Tiers) keeps() time.Duration {
	if len(ts) > 1 {
		return ts[1]
	}
	return 6 * ts[0]
}

// longestUrgent bounds the tiers that lane urgent has for itself. A longer wait needs no topic of its own: there, a delay of
// some seconds does not matter.
const longestUrgent = 30 * time.Second

// urgent returns the tiers that lane urgent has for itself: those up to longestUrgent, at least the shortest.
func (ts Tiers) urgent() Tiers {
	n := 1
	for n < len(ts) && ts[n] <= longestUrgent {
		n++
	}
	return ts[:n]
}

// TierName returns a tier as it is spelt in a topic's name: 5s, 3m, 12h.
func TierName(tier time.Duration) string {
	s := tier.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func (t Topics) tiers() Tiers {
	if len(t.Tiers) == 0 {
		return DefaultTiers()
	}
	return t.Tiers
}

// Tier is one topic of a channel's delay ladder.
type Tier struct {
	Topic   string
	Group   string // of the movers that read it
	Name    string // for people and metrics: 5s, urgent.5s
	Length  time.Duration
	Urgent  bool // only for jobs of lane urgent
	Drained bool // no longer configured: nothing is written to it any more
}

// Ladder lists the delay topics of a channel: those that all lanes share, the shortest first, then those of lane urgent, then
// those that are drained.
func (t Topics) Ladder(ch notify.Channel) []Tier {
	tiers, group := t.tiers(), t.DelayGroup(ch)
	all := make([]Tier, 0, 2*len(tiers))
	for _, d := range tiers {
		all = append(all, Tier{Topic: t.sharedDelay(ch, d), Group: group, Name: TierName(d), Length: d})
	}
	for _, d := range tiers.urgent() {
		all = append(all, t.urgentTier(ch, d))
	}
	for _, d := range t.Drained[ch] {
		all = append(all, Tier{Topic: t.sharedDelay(ch, d), Group: group, Name: TierName(d), Length: d, Drained: true})
	}
	for _, d := range t.DrainedUrgent[ch] {
		tier := t.urgentTier(ch, d)
		tier.Drained = true
		all = append(all, tier)
	}
	return all
}

func (t Topics) urgentTier(ch notify.Channel, d time.Duration) Tier {
	return Tier{
		Topic: t.urgentDelay(ch, d), Group: t.UrgentDelayGroup(ch), Name: string(notify.LaneUrgent) + "." + TierName(d), Length: d, Urgent: true,
	}
}

// Delay returns the topic in which a job of that lane waits that is due after the remaining time. Lane urgent has short tiers
// of its own, so that a campaign which is due does not delay a one-time password.
func (t Topics) Delay(ch notify.Channel, lane notify.Lane, remaining time.Duration) string {
	tiers := t.tiers()
	tier := tiers.For(remaining)
	if lane == notify.LaneUrgent && slices.Contains(tiers.urgent(), tier) {
		return t.urgentDelay(ch, tier)
	}
	return t.sharedDelay(ch, tier)
}

// delays stands between the topic of a channel or lane and the tier in the name of a delay topic.
const delays = ".delay."

func (t Topics) sharedDelay(ch notify.Channel, tier time.Duration) string {
	return t.Channel(ch) + delays + TierName(tier)
}

func (t Topics) urgentDelay(ch notify.Channel, tier time.Duration) string {
	return t.Job(ch, notify.LaneUrgent) + delays + TierName(tier)
}

// DelayGroup is the consumer group of the movers of the tiers that all lanes of a channel share.
func (t Topics) DelayGroup(ch notify.Channel) string {
	return t.Prefix + "laudspeaker." + string(ch) + ".delay"
}

// UrgentDelayGroup is the consumer group of the movers of lane urgent's own tiers.
func (t Topics) UrgentDelayGroup(ch notify.Channel) string {
	return t.Prefix + "laudspeaker." + string(ch) + ".urgent.delay"
}

// WithExisting returns t with the delay topics among the existing ones that the configured tiers do not have: an earlier
// configuration had these tiers, and jobs may still wait in them.
func (t Topics) WithExisting(existing []string) Topics {
	t.Drained, t.DrainedUrgent = map[notify.Channel]Tiers{}, map[notify.Channel]Tiers{}
	for _, ch := range t.Channels() {
		shared, urgent := t.Channel(ch)+delays, t.Job(ch, notify.LaneUrgent)+delays
		for _, topic := range existing {
			if d, ok := tierAfter(topic, shared); ok && !slices.Contains(t.tiers(), d) {
				t.Drained[ch] = append(t.Drained[ch], d)
			}
			if d, ok := tierAfter(topic, urgent); ok && !slices.Contains(t.tiers().urgent(), d) {
				t.DrainedUrgent[ch] = append(t.DrainedUrgent[ch], d)
			}
		}
		slices.Sort(t.Drained[ch])
		slices.Sort(t.DrainedUrgent[ch])
	}
	return t
}

// tierAfter reads the tier behind the prefix of a delay topic. ok is false for any other topic.
func tierAfter(topic, prefix string) (tier time.Duration, ok bool) {
	name, found := strings.CutPrefix(topic, prefix)
	if !found {
		return 0, false
	}
	d, err := time.ParseDuration(name)
	return d, err == nil && d > 0 && TierName(d) == name
}
