package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// newWire returns the connection for fetches to the broker of cfg.
func newWire(t *testing.T, cfg Config) *wire {
	t.Helper()
	sc, err := cfg.group()
	require.NoError(t, err)
	conn := newLazyClient(cfg.Brokers, sc)
	t.Cleanup(conn.close)
	return conn.wire(cfg.Brokers[0])
}

// fetchOne fetches partition 0 of the topic t from its start.
func (w *wire) fetchOne() (fetched, error) {
	req := newFetch(1, 1<<20, 100*time.Millisecond, false)
	addPartition(req, topicPartition{"t", 0}, 0, 1<<20)
	answers, err := w.fetch(req)
	return answers[topicPartition{"t", 0}], err
}

func (w *wire) produce(t *testing.T, raw []byte) {
	t.Helper()
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = 7, -1, 5000
	topic, p := kmsg.NewProduceRequestTopic(), kmsg.NewProduceRequestTopicPartition()
	topic.Topic, p.Records = "t", raw
	topic.Partitions = append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	w.mu.Lock()
	defer w.mu.Unlock()
	resp, err := w.ask(req, 0)
	require.NoError(t, err)
	require.Zero(t, resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode)
}

// requireFetches writes a batch and fetches it, also with a second connection and by several goroutines.
func requireFetches(t *testing.T, cfg Config) {
	t.Helper()
	w := newWire(t, cfg)
	raw := goodBatch(0, "a", "b")
	w.produce(t, raw)
	w.close()
	var fetches sync.WaitGroup
	found := make([]fetched, 4)
	errs := make([]error, len(found))
	for i := range found {
		fetches.Go(func() { found[i], errs[i] = w.fetchOne() })
	}
	fetches.Wait()
	for i, a := range found {
		require.NoError(t, errs[i])
		require.NoError(t, a.err)
		cur := newCursor(topicPartition{"t", 0}, 0, &sync.Mutex{})
		cur.load(a.block)
		first, _ := cur.next()
		second, _ := cur.next()
		require.Equal(t, []string{"a", "b"}, []string{string(first.Value), string(second.Value)})
		require.EqualValues(t, 2, a.block.highWatermark)
	}
}

// wireError is what a fetch fails with. It fails within seconds, and its error does not tell the password.
func wireError(t *testing.T, cfg Config) error {
	t.Helper()
	w := newWire(t, cfg)
	_, err := w.fetchOne()
	require.Error(t, err)
	require.NotContains(t, err.Error(), secret)
	require.Nil(t, w.conn, "the next request begins with a connection of its own")
	return err
}

func TestWire_SASL(t *testing.T) {
	ca := newCA(t)
	server := ca.issue(t, "127.0.0.1")
	listen := kfake.TLS(&tls.Config{Certificates: []tls.Certificate{server.pair(t)}})
	for _, mechanism := range []string{Plain, ScramSHA256, ScramSHA512} {
		t.Run(mechanism, func(t *testing.T) {
			cfg := cluster(t, kfake.EnableSASL(), kfake.Superuser(mechanism, "ada", secret), kfake.SeedTopics(1, "t"))
			wireError(t, cfg)
			cfg.SASL = SASL{mechanism, "ada", secret}
			requireFetches(t, cfg)
			cfg.SASL.Password = "wrong-" + secret
			require.ErrorContains(t, wireError(t, cfg), "authenticate: ")
			cfg.SASL = SASL{mechanism, "eve", secret}
			require.ErrorContains(t, wireError(t, cfg), "authenticate: ")
		})
		t.Run(mechanism+" in TLS", func(t *testing.T) {
			cfg := cluster(t, kfake.EnableSASL(), kfake.Superuser(mechanism, "ada", secret), listen, kfake.SeedTopics(1, "t"))
			cfg.TLS, cfg.SASL = TLS{Enabled: true, CAFile: ca.file}, SASL{mechanism, "ada", secret}
			requireFetches(t, cfg)
		})
	}
	t.Run("a mechanism that the broker has not", func(t *testing.T) {
		cfg := cluster(t, kfake.EnableSASL(), kfake.Superuser(Plain, "ada", secret), kfake.SeedTopics(1, "t"))
		cfg.SASL = SASL{ScramSHA512, "ada", secret}
		wireError(t, cfg)
	})
}

func TestWire_TLS(t *testing.T) {
	ca, other := newCA(t), newCA(t)
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	server := ca.issue(t, "127.0.0.1")
	cfg := cluster(t, kfake.SeedTopics(1, "t"), kfake.TLS(&tls.Config{
		Certificates: []tls.Certificate{server.pair(t)}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}))
	mine, strangers := ca.issue(t, "client"), other.issue(t, "client")
	wireError(t, cfg)
	cfg.TLS = TLS{Enabled: true, CAFile: ca.file, CertFile: mine.file, KeyFile: mine.key}
	requireFetches(t, cfg)
	for name, wrong := range map[string]TLS{
		"CA of another":             {Enabled: true, CAFile: other.file, CertFile: mine.file, KeyFile: mine.key},
		"no client certificate":     {Enabled: true, CAFile: ca.file},
		"certificate of another CA": {Enabled: true, CAFile: ca.file, CertFile: strangers.file, KeyFile: strangers.key},
		"a name the broker has not": {Enabled: true, CAFile: ca.file, CertFile: mine.file, KeyFile: mine.key, ServerName: "other"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := cfg
			cfg.TLS = wrong
			wireError(t, cfg)
		})
	}
}

// What answers in place of a broker is not trusted: no answer is believed that has another number or a size beyond all bounds,
// and a server that does not know the password does not pass for one that does.
func TestWire_HostileAnswers(t *testing.T) {
	answer := func(size uint32, number uint32, body string) []byte {
		b := binary.BigEndian.AppendUint32(nil, size)
		return append(binary.BigEndian.AppendUint32(b, number), body...)
	}
	saslAnswer := func(number uint32, proof string) []byte {
		resp := kmsg.NewPtrSASLAuthenticateResponse()
		resp.Version, resp.SASLAuthBytes = 1, []byte(proof)
		body := resp.AppendTo(nil)
		return answer(uint32(4+len(body)), number, string(body))
	}
	handshake := kmsg.NewPtrSASLHandshakeResponse()
	handshake.Version, handshake.SupportedMechanisms = 1, []string{ScramSHA256}
	hello := handshake.AppendTo(nil)
	helloAnswer := answer(uint32(4+len(hello)), 1, string(hello))
	for name, c := range map[string]struct {
		sasl    SASL
		answers func(request int, nonce string) []byte
	}{
		"another number": {answers: func(int, string) []byte { return answer(8, 7, "\x00\x00\x00\x00") }},
		"huge size":      {answers: func(int, string) []byte { return answer(1<<31, 1, "") }},
		"no number":      {answers: func(int, string) []byte { return answer(0, 1, "") }},
		"no fetch":       {answers: func(int, string) []byte { return answer(4+3, 1, "abc") }},
		"HTTP":           {answers: func(int, string) []byte { return []byte("HTTP/1.1 400 Bad Request\r\n\r\n") }},
		"SCRAM without proof": {sasl: SASL{ScramSHA256, "ada", secret}, answers: func(request int, nonce string) []byte {
			switch request {
			case 1:
				return helloAnswer
			case 2:
				return saslAnswer(2, "r="+nonce+"theirs,s=c2FsdHNhbHQ=,i=4096")
			default:
				return saslAnswer(uint32(request), "v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
			}
		}},
		"SCRAM that never ends": {sasl: SASL{ScramSHA256, "ada", secret}, answers: func(request int, _ string) []byte {
			if request == 1 {
				return helloAnswer
			}
			return saslAnswer(uint32(request), "")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			var serving sync.WaitGroup
			serving.Go(func() { serveAnswers(l, c.answers) })
			t.Cleanup(serving.Wait)
			t.Cleanup(func() { l.Close() })
			err = wireError(t, Config{Brokers: []string{l.Addr().String()}, SASL: c.sasl})
			if c.sasl.Mechanism != "" {
				require.ErrorContains(t, err, "authenticate: ")
			}
		})
	}
}

// serveAnswers answers the requests of one connection. The nonce is that of a SCRAM client's first message.
func serveAnswers(l net.Listener, answers func(request int, nonce string) []byte) {
	conn, err := l.Accept()
	if err != nil {
		return
	}
	defer conn.Close()
	nonce := ""
	for n := 1; ; n++ {
		var size [4]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		request := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(conn, request); err != nil {
			return
		}
		if _, after, ok := strings.Cut(string(request), "n,,n=ada,r="); ok {
			nonce = after
		}
		if _, err := conn.Write(answers(n, nonce)); errors.Is(err, net.ErrClosed) {
			return
		}
	}
}
