package dispatcher

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func TestEveryNameHasThePrefix(t *testing.T) {
	all := topics()
	require.Equal(t, "acme.email_topic", all.Job(notify.ChannelEmail, notify.LaneNormal))
	require.Equal(t, "acme.email_topic.urgent", all.Job(notify.ChannelEmail, notify.LaneUrgent))
	require.Equal(t, "acme.email_topic.dlq", all.DeadLetters(notify.ChannelEmail))
	require.Equal(t, "acme.email_topic.delay.3m", all.Delay(notify.ChannelEmail, notify.LaneUrgent, 3*time.Minute))
	require.Equal(t, "acme.status_topic", all.Status())
	require.Equal(t, "acme.control_topic", all.Control())
	require.Equal(t, "acme.laudspeaker.email.normal", all.Group(notify.ChannelEmail, notify.LaneNormal))
	require.Equal(t, "acme.laudspeaker.email.delay", all.DelayGroup(notify.ChannelEmail))

	all.Prefix = ""
	require.Equal(t, "email_topic.bulk", all.Job(notify.ChannelEmail, notify.LaneBulk))
	require.Equal(t, "laudspeaker.push.bulk", all.Group(notify.ChannelPush, notify.LaneBulk))
}

func TestOnlyConfiguredChannelsHaveTopics(t *testing.T) {
	all := topics()
	require.Empty(t, all.Job(notify.ChannelSMS, notify.LaneNormal))
	require.Empty(t, all.Job(notify.ChannelSMS, notify.LaneUrgent))
	require.Empty(t, all.Channel(notify.ChannelWebhook))
	require.Equal(t, []notify.Channel{notify.ChannelEmail, notify.ChannelPush}, all.Channels())

	const day = 24 * time.Hour
	all.Tiers = Tiers{time.Second, time.Minute}
	of := func(topic string) []TopicSpec {
		return []TopicSpec{
			{topic + ".urgent", 12, 14 * day, 99, false},
			{topic, 12, 14 * day, 99, false},
			{topic + ".bulk", 12, 14 * day, 99, false},
			{topic + ".delay.1s", 3, time.Second + 14*day, 99, true},
			{topic + ".delay.1m", 3, time.Minute + 14*day, 99, true},
			{topic + ".urgent.delay.1s", 3, time.Second + 14*day, 99, true},
			{topic + ".dlq", 3, 30 * day, 99, false},
		}
	}
	require.Equal(t, slices.Concat(of("acme.email_topic"), of("acme.push_topic"), []TopicSpec{
		{"acme.status_topic", 12, 14 * day, 99, false},
		{"acme.control_topic", 1, 0, 99, false},
	}), all.Specs(12, 99))
	require.Equal(t, int32(2), all.Specs(2, 99)[5].Partitions)

	readers := all.Readers()
	require.Equal(t, []string{"acme.laudspeaker.email.bulk"}, readers["acme.email_topic.bulk"])
	require.Equal(t, []string{"acme.laudspeaker.push.delay"}, readers["acme.push_topic.delay.1m"])
	require.Equal(t, []string{"acme.laudspeaker.push.urgent.delay"}, readers["acme.push_topic.urgent.delay.1s"])
	require.Empty(t, readers["acme.status_topic"])
	require.NotContains(t, readers, "acme.control_topic", "it is compacted, never trimmed")
	require.ElementsMatch(t, []string{
		"acme.status_topic", "acme.email_topic.urgent", "acme.email_topic", "acme.email_topic.bulk",
		"acme.push_topic.urgent", "acme.push_topic", "acme.push_topic.bulk",
	}, all.Recorded())
}

func TestTiers(t *testing.T) {
	tiers := DefaultTiers()
	for remaining, want := range map[time.Duration]string{
		0: "5s", time.Second: "5s", 5 * time.Second: "5s", 29 * time.Second: "5s", 30 * time.Second: "30s", 2 * time.Minute: "30s",
		20 * time.Minute: "20m", 2*time.Hour - 1: "20m", 72*time.Hour - 1: "12h", 30 * 24 * time.Hour: "72h",
	} {
		require.Equal(t, want, TierName(tiers.For(remaining)), remaining)
	}
	require.Equal(t, "50ms", TierName(50*time.Millisecond))
	require.Equal(t, "1h30m", TierName(90*time.Minute))
}

// Short waits of lane urgent have topics of their own; long ones share those of the other lanes.
func TestLaneUrgentHasShortTiersOfItsOwn(t *testing.T) {
	all := topics()
	for remaining, want := range map[time.Duration]string{
		0: "urgent.delay.5s", 29 * time.Second: "urgent.delay.5s", 30 * time.Second: "urgent.delay.30s", 179 * time.Second: "urgent.delay.30s",
		180 * time.Second: "delay.3m", 30 * 24 * time.Hour: "delay.72h",
	} {
		require.Equal(t, "acme.email_topic."+want, all.Delay(notify.ChannelEmail, notify.LaneUrgent, remaining), remaining)
		for _, lane := range []notify.Lane{notify.LaneNormal, notify.LaneBulk} {
			require.Equal(t, "acme.email_topic."+strings.TrimPrefix(want, "urgent."), all.Delay(notify.ChannelEmail, lane, remaining), remaining)
		}
	}
	var urgent []string
	for _, tier := range all.Ladder(notify.ChannelEmail) {
		if tier.Urgent {
			urgent = append(urgent, tier.Topic+" "+tier.Name+" "+tier.Group)
		}
	}
	require.Equal(t, []string{
		"acme.email_topic.urgent.delay.5s urgent.5s acme.laudspeaker.email.urgent.delay",
		"acme.email_topic.urgent.delay.30s urgent.30s acme.laudspeaker.email.urgent.delay",
	}, urgent)
	all.Tiers = Tiers{time.Minute, time.Hour}
	require.Equal(t, "acme.email_topic.urgent.delay.1m", all.Delay(notify.ChannelEmail, notify.LaneUrgent, time.Second), "at least the shortest")
	require.Equal(t, "acme.email_topic.delay.1h", all.Delay(notify.ChannelEmail, notify.LaneUrgent, time.Hour))
}

func TestTiersThatAreNoLongerConfiguredAreRead(t *testing.T) {
	all := topics()
	all.Tiers = Tiers{5 * time.Second, 3 * time.Minute}
	with := all.WithExisting([]string{
		"acme.email_topic.delay.5s", "acme.email_topic.delay.3m", "acme.email_topic.delay.12h", "acme.email_topic.delay.1m30s",
		"acme.email_topic.urgent.delay.5s", "acme.email_topic.urgent.delay.30s", "acme.email_topic.urgent.delay.3m",
		"acme.email_topic.delay.x", "acme.email_topic.delay.", "acme.email_topic.delay.-5s", "acme.email_topic.delay.60s", "acme.email_topic.delay.5s.dlq",
		"email_topic.delay.12h", "acme.sms_topic.delay.12h", "other",
	})
	var removed []string
	for _, tier := range with.Ladder(notify.ChannelEmail) {
		if tier.Drained {
			removed = append(removed, tier.Topic+" "+tier.Group)
		}
	}
	require.Equal(t, []string{
		"acme.email_topic.delay.1m30s acme.laudspeaker.email.delay", "acme.email_topic.delay.12h acme.laudspeaker.email.delay",
		"acme.email_topic.urgent.delay.30s acme.laudspeaker.email.urgent.delay", "acme.email_topic.urgent.delay.3m acme.laudspeaker.email.urgent.delay",
	}, removed)
	require.Empty(t, all.Drained, "t itself is left as it is")
	require.Equal(t, all.Specs(12, 99), with.Specs(12, 99), "nothing makes them anew")
	require.Contains(t, with.Readers(), "acme.email_topic.delay.12h")
}

// TestHops counts the hops of a job for every remaining wait up to 30 days, in seconds, when each hop is on time and when each
// is late by any time: how often a job is written on the ladder, and the hop back to its lane.
func TestHops(t *testing.T) {
	const longest = int(notify.MaxDelay / time.Second)
	tiers := DefaultTiers()
	onTime, late := make([]int, longest+1), make([]int, longest+1) // late: the most of all shorter waits too
	for s := 1; s <= longest; s++ {
		tier := int(tiers.For(time.Duration(s)*time.Second) / time.Second)
		if time.Duration(s)*time.Second < tiers.keeps() {
			onTime[s], late[s] = 2, 2
			continue
		}
		onTime[s] = 1 + max(onTime[s-tier], 1)
		late[s] = max(1+max(late[s-tier], 1), late[s-1])
	}
	most := slices.Max(onTime)
	t.Logf("at most %d hops on time, %d late", most, late[longest])
	require.LessOrEqual(t, most, 41)
	require.LessOrEqual(t, late[longest], 41)
}
