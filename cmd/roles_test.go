package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway/capture"
	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/kafka/embedded"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

// press counts what is published.
type press struct{ published int }

func (p *press) PublishAll(_ context.Context, ms []kafka.Message) []error {
	p.published += len(ms)
	return make([]error, len(ms))
}

// The embedded broker keeps what the status store has not read: it is told by whom and of which topics.
func TestTheBrokerKnowsTheRecorder(t *testing.T) {
	topics := dispatcher.Topics{Prefix: "acme.", Jobs: map[notify.Channel]string{notify.ChannelSMS: "sms_topic"}}
	require.Equal(t, embedded.Recorder{
		Group: "acme.laudspeaker.recorder", Topics: []string{"acme.status_topic", "acme.sms_topic.urgent", "acme.sms_topic", "acme.sms_topic.bulk"},
	}, brokerConfig("", "", config.Embedded{}, topics, nil).Recorder)
}

func TestAFullBusTakesNothing(t *testing.T) {
	var full error
	out := &press{}
	d := dispatcher.New(dispatcher.Config{
		Topics:    dispatcher.Topics{Jobs: map[notify.Channel]string{notify.ChannelSMS: "sms_topic"}},
		Rules:     validate.Rules{DefaultFrom: map[notify.Channel]bool{notify.ChannelSMS: true}},
		Publisher: admission{out, func() error { return full }},
	})
	n := &notify.Notification{Channel: notify.ChannelSMS, Recipient: "+14155550100", Payload: []byte(`{"body":"hi"}`)}
	_, errs := d.Dispatch(t.Context(), time.Now(), []*notify.Notification{n})
	require.Equal(t, []error{nil}, errs)
	full = errors.New("the disk is full")
	_, errs = d.Dispatch(t.Context(), time.Now(), []*notify.Notification{n, n})
	require.Len(t, errs, 2)
	for _, err := range errs {
		require.ErrorIs(t, err, notify.ErrBusUnavailable)
	}
	require.Equal(t, 1, out.published)
}

func TestSeveralFoldersAreOneOutbox(t *testing.T) {
	g := config.Gateway{Type: "capture"}
	p := &process{routes: map[notify.Channel]config.Route{}}
	ids := map[notify.Channel]string{}
	for _, channel := range []notify.Channel{notify.ChannelSMS, notify.ChannelPush} {
		g.Capture = &config.Capture{Dir: t.TempDir(), Keep: 10}
		p.routes[channel] = config.Route{{Name: string(channel), Gateway: g}}
		sender, err := capture.New("c", *g.Capture)
		require.NoError(t, err)
		m := &notify.Message{Notification: notify.Notification{ID: notify.NewID(), Channel: channel, Recipient: "+14155550100"}, SMS: &notify.SMS{Body: "hi"}}
		_, err = sender.Send(t.Context(), m)
		require.NoError(t, err)
		ids[channel] = m.ID
	}
	box, err := p.outbox()
	require.NoError(t, err)
	all, err := box.List(10)
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Equal(t, ids[notify.ChannelPush], all[0].ID, "the newest first")
	all, err = box.List(1)
	require.NoError(t, err)
	require.Len(t, all, 1)
	for _, id := range ids {
		m, err := box.Get(id)
		require.NoError(t, err)
		require.NotEmpty(t, m.Content)
	}
	_, err = box.Get(notify.NewID())
	require.ErrorIs(t, err, fs.ErrNotExist)

	none, err := (&process{}).outbox()
	require.NoError(t, err)
	require.Nil(t, none)
}

func TestChannelsOfOneGatewayShareIt(t *testing.T) {
	cfg, err := config.Load(config.Source{Flags: map[string]string{
		"gateways.g.type": "sim", "channels.sms.gateways": "g", "channels.push.gateways": "g", "gateways.other.type": "sim", "channels.email.gateways": "other",
	}})
	require.NoError(t, err)
	p, err := newProcess(cfg, &bytes.Buffer{}, "work", false)
	require.NoError(t, err)
	all, err := p.newOutlets(p.topics.Channels(), zap.NewNop())
	require.NoError(t, err)
	require.Len(t, all, 2)
	for _, o := range all {
		require.NoError(t, o.Sender.Close())
	}
}

func TestEveryTypeOfGatewayHasAConstructor(t *testing.T) {
	for name, key := range map[string]string{"smtp": "host=a.example", "twilio": "account_sid=", "fcm": "", "apns": "", "http": "", "capture": "", "sim": ""} {
		_, err := newSender("g", config.Gateway{
			Type: name, SMTP: &config.SMTP{}, Twilio: &config.Twilio{}, FCM: &config.FCM{}, Capture: &config.Capture{}, Sim: &config.Sim{}, HTTP: &config.HTTP{}, APNs: &config.APNs{},
		}, zap.NewNop())
		if err != nil {
			require.NotContains(t, err.Error(), "has no gateway in this build", key)
		}
	}
	_, err := newSender("g", config.Gateway{Type: "fax"}, zap.NewNop())
	require.ErrorContains(t, err, "has no gateway in this build")
}

func TestEverySettingOfKafkaArrives(t *testing.T) {
	got := kafkaConfig(&config.Config{Kafka: config.Kafka{
		Brokers: []string{"a:1"}, TLS: config.KafkaTLS{CAFile: "ca", CertFile: "cert", KeyFile: "key", ServerName: "name"},
		SASL: config.SASL{Mechanism: "scram-sha-256", Username: "u", Password: "p"}, InstanceID: "i",
		SessionTimeout: 1 * time.Second, RebalanceTimeout: 2 * time.Second, ReadTimeout: 3 * time.Second,
	}})
	require.Equal(t, kafka.Config{
		Brokers: []string{"a:1"}, TLS: kafka.TLS{Enabled: true, CAFile: "ca", CertFile: "cert", KeyFile: "key", ServerName: "name"},
		SASL:  kafka.SASL{Mechanism: kafka.ScramSHA256, User: "u", Password: "p"},
		Group: kafka.Group{InstanceID: "i", RebalanceTimeout: 2 * time.Second}, ReadTimeout: 3 * time.Second,
	}, got)
	for mechanism, want := range map[string]string{"plain": kafka.Plain, "scram-sha-512": kafka.ScramSHA512} {
		require.Equal(t, want, kafkaConfig(&config.Config{Kafka: config.Kafka{SASL: config.SASL{Mechanism: mechanism}}}).SASL.Mechanism)
	}
	require.False(t, kafkaConfig(&config.Config{}).TLS.Enabled)
}

// Only a session timeout that is set is final; the default gives way where the brokers refuse it.
func TestKafkaConfig_SessionTimeoutAndInstanceID(t *testing.T) {
	load := func(env ...string) kafka.Config {
		cfg, err := config.Load(config.Source{Env: env})
		require.NoError(t, err)
		return kafkaConfig(cfg)
	}
	require.Zero(t, load().Group.SessionTimeout)
	require.Equal(t, 6*time.Second, load("LAUDSPEAKER_KAFKA_SESSION_TIMEOUT=6s").Group.SessionTimeout)
	require.Equal(t, "worker-0", load("LAUDSPEAKER_KAFKA_INSTANCE_ID=worker-0").Group.InstanceID, "as a StatefulSet names its pods")
}

func TestLogFormats(t *testing.T) {
	var b bytes.Buffer
	log := newLogger(config.Log{Level: "warn", Format: "auto"}, &b)
	log.Info("not this")
	log.Warn("this")
	var line map[string]any
	require.NoError(t, json.Unmarshal(b.Bytes(), &line), "auto is JSON where there is no terminal")
	require.Equal(t, "this", line["msg"])
	b.Reset()
	newLogger(config.Log{Level: "info", Format: "console"}, &b).Info("hello", zap.Int("n", 1))
	require.Regexp(t, `^\d\d:\d\d:\d\d  INFO  hello  \{"n": 1\}\n$`, b.String())
}
