package dispatcher

import (
	"slices"
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
	require.Equal(t, "acme.email_topic.delay.3m", all.Delay(notify.ChannelEmail, 3*time.Minute))
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
		20 * time.Minute: "20m", 2*time.Hour - 1: "20m", 30 * 24 * time.Hour: "12h",
	} {
		require.Equal(t, want, TierName(tiers.For(remaining)), remaining)
	}
	require.Equal(t, "50ms", TierName(50*time.Millisecond))
	require.Equal(t, "1h30m", TierName(90*time.Minute))
}
