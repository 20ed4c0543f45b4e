package producer

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

// anyBus acknowledges every record at once.
type anyBus struct{}

func (anyBus) PublishAll(_ context.Context, ms []kafka.Message) []error {
	return make([]error, len(ms))
}

// BenchmarkAccept measures a request from the handler to the encoded record: everything but the connection and the bus.
func BenchmarkAccept(b *testing.B) {
	const (
		sms   = `{"channel":"sms","recipient":"+14155550123","reference":"order 4711","payload":{"body":"Your code is 123456. Do not share it."}}`
		email = `{"channel":"email","recipient":"Ada <ada@test.example>","reference":"order 4711","payload":{"from":"Acme <no-reply@acme.example>",` +
			`"subject":"Your order","text":"%s","html":"<p class=\"a\">%s</p>"}}`
		push = `{"channel":"push","recipient":"token-of-a-device","payload":{"title":"Your order","body":"It is on its way.","data":{"order":"4711"}}}`
	)
	text := strings.Repeat("Some text to read, line by line.\\n", 30)
	items := make([]string, 500)
	for i := range items {
		items[i] = strings.Replace(sms, "0123", fmt.Sprintf("%04d", i), 1)
	}
	for _, c := range []struct{ name, path, body string }{
		{"sms", "/v1/notifications", sms},
		{"email", "/v1/notifications", fmt.Sprintf(email, text, text)},
		{"push", "/v1/notifications", push},
		{"batch", "/v1/notifications/batch", `{"notifications":[` + strings.Join(items, ",") + `]}`},
	} {
		b.Run(c.name, func(b *testing.B) { benchmarkAccept(b, c.path, c.body) })
	}
}

func benchmarkAccept(b *testing.B, path, body string) {
	key, held := GenerateKey("shop", ScopeSend)
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(io.Discard), zap.InfoLevel)
	s := newServer(b, Config{
		Dispatcher: dispatcher.New(dispatcher.Config{
			Topics: dispatcher.Topics{Jobs: map[notify.Channel]string{notify.ChannelEmail: "email", notify.ChannelSMS: "sms", notify.ChannelPush: "push"}},
			Rules:  validate.Rules{DefaultFrom: map[notify.Channel]bool{notify.ChannelSMS: true}}, Publisher: anyBus{}, MaxBytes: 1 << 20,
		}),
		Keys: []Key{held}, Log: zap.New(core),
	})
	r := request(http.MethodPost, path, body)
	r.Header.Set("Authorization", "Bearer "+key)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		r.Body = readCloser{strings.NewReader(body)}
		w := &discard{header: http.Header{}}
		if s.ServeHTTP(w, r); w.status != http.StatusAccepted && w.status != http.StatusOK {
			b.Fatal(w.status)
		}
	}
}
