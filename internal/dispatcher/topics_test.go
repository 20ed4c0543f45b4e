package dispatcher

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func TestEveryNameHasThePrefix(t *testing.T) {
	all := topics()
	require.Equal(t, "acme.email_topic", all.Job(notify.ChannelEmail))
	require.Equal(t, "acme.email_topic.dlq", all.DeadLetters(notify.ChannelEmail))
	require.Equal(t, "acme.status_topic", all.Status())
	require.Equal(t, "acme.laudspeaker.email.normal", all.Group(notify.ChannelEmail))

	all.Prefix = ""
	require.Equal(t, "email_topic", all.Job(notify.ChannelEmail))
	require.Equal(t, "laudspeaker.push.normal", all.Group(notify.ChannelPush))
}

func TestOnlyConfiguredChannelsHaveTopics(t *testing.T) {
	all := topics()
	require.Empty(t, all.Job(notify.ChannelSMS))
	require.Empty(t, all.Job(notify.ChannelWebhook))
	require.Equal(t, []notify.Channel{notify.ChannelEmail, notify.ChannelPush}, all.Channels())

	const day = 24 * time.Hour
	require.Equal(t, []TopicSpec{
		{"acme.email_topic", 12, 14 * day, 99},
		{"acme.email_topic.dlq", 3, 30 * day, 99},
		{"acme.push_topic", 12, 14 * day, 99},
		{"acme.push_topic.dlq", 3, 30 * day, 99},
		{"acme.status_topic", 12, 14 * day, 99},
	}, all.Specs(12, 99))
	require.Equal(t, int32(2), all.Specs(2, 99)[1].Partitions)
}
