package kafka

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// wire is a connection to one broker for fetches. Sarama decodes the records of an answer as it arrives, and drops the answer
// for all partitions when one batch cannot be decoded; a wire returns the batches as they are. It connects when it is first
// used and after trouble. It may be used concurrently: one request is on its way at a time.
type wire struct {
	config *sarama.Config // with the dialler, TLS and SASL of the client that it belongs to
	addr   string

	mu     sync.Mutex
	conn   net.Conn
	in     *bufio.Reader
	number int32                            // of the last request
	speaks []kmsg.ApiVersionsResponseApiKey // the requests that the broker answers; nil until it is asked
}

// mostAnswer bounds an answer: it is above what a fetch may ask for, and one batch that may be larger.
const mostAnswer = 100 << 20

// fetchVersion is the last version of the fetch protocol without topic ids and flexible fields.
const fetchVersion = 11

// newFetch returns a fetch without partitions. It asks for no session.
func newFetch(minBytes, maxBytes int32, wait time.Duration, committed bool) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.ReplicaID, req.SessionEpoch = fetchVersion, -1, -1
	req.MinBytes, req.MaxBytes, req.MaxWaitMillis = minBytes, maxBytes, int32(wait.Milliseconds())
	if committed {
		req.IsolationLevel = 1
	}
	return req
}

// addPartition asks for the records of tp from offset at on.
func addPartition(req *kmsg.FetchRequest, tp topicPartition, at int64, maxBytes int32) {
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = tp.partition, at, maxBytes
	if n := len(req.Topics); n > 0 && req.Topics[n-1].Topic == tp.topic {
		req.Topics[n-1].Partitions = append(req.Topics[n-1].Partitions, p)
		return
	}
	t := kmsg.NewFetchRequestTopic()
	t.Topic = tp.topic
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
}

// fetched is what an answer says of one partition.
type fetched struct {
	block *block
	err   error
}

// fetch sends the request and returns what the broker says of each partition.
func (w *wire) fetch(req *kmsg.FetchRequest) (map[topicPartition]fetched, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	answer, err := w.ask(req, time.Duration(req.MaxWaitMillis)*time.Millisecond)
	if err != nil {
		return nil, fmt.Errorf("fetch from %s: %w", w.addr, err)
	}
	resp := answer.(*kmsg.FetchResponse) //nolint:forcetypeassert // made by ask
	if resp.ErrorCode != 0 {
		return nil, fmt.Errorf("fetch from %s: %w", w.addr, sarama.KError(resp.ErrorCode))
	}
	all := make(map[topicPartition]fetched, len(resp.Topics))
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			p := &resp.Topics[i].Partitions[j]
			tp := topicPartition{resp.Topics[i].Topic, p.Partition}
			if p.ErrorCode != 0 {
				all[tp] = fetched{err: sarama.KError(p.ErrorCode)}
				continue
			}
			b := &block{addr: w.addr, raw: p.RecordBatches, highWatermark: p.HighWatermark, lastStable: p.LastStableOffset, logStart: p.LogStartOffset}
			for _, a := range p.AbortedTransactions {
				b.aborted = append(b.aborted, abortedTransaction{a.ProducerID, a.FirstOffset})
			}
			all[tp] = fetched{block: b}
		}
	}
	return all, nil
}

// close ends the connection; the next request makes another.
func (w *wire) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drop()
}

func (w *wire) drop() {
	if w.conn != nil {
		_ = w.conn.Close()
		w.conn, w.in, w.speaks = nil, nil, nil
	}
}

// ask sends a request, and waits that long and a read timeout for its answer. The lock is held.
func (w *wire) ask(req kmsg.Request, wait time.Duration) (kmsg.Response, error) {
	if w.conn == nil {
		if err := w.dial(); err != nil {
			w.drop()
			return nil, err
		}
	}
	resp, err := w.exchange(req, wait)
	if err != nil {
		w.drop()
	}
	return resp, err
}

// supports reports whether the broker answers that version of a request. The lock is held.
func (w *wire) supports(key, version int16) (bool, error) {
	if w.speaks == nil { // drop clears it with the connection
		req := kmsg.NewPtrApiVersionsRequest()
		answer, err := w.ask(req, 0)
		if err != nil {
			return false, fmt.Errorf("ask %s for its versions: %w", w.addr, err)
		}
		w.speaks = answer.(*kmsg.ApiVersionsResponse).ApiKeys //nolint:forcetypeassert // made by ask
	}
	return slices.ContainsFunc(w.speaks, func(k kmsg.ApiVersionsResponseApiKey) bool {
		return k.ApiKey == key && k.MinVersion <= version && version <= k.MaxVersion
	}), nil
}

// dial connects and proves who we are.
func (w *wire) dial() error {
	conn, err := w.config.Net.Proxy.Dialer.Dial("tcp", w.addr) // with TLS, see bound
	if err != nil {
		return err
	}
	w.conn, w.in = conn, bufio.NewReaderSize(conn, 64<<10)
	if !w.config.Net.SASL.Enable {
		return nil
	}
	if err := w.authenticate(); err != nil {
		return fmt.Errorf("authenticate: %w", err)
	}
	return nil
}

// authenticate runs the SASL exchange of the configured mechanism.
func (w *wire) authenticate() error {
	s := &w.config.Net.SASL
	hello := kmsg.NewPtrSASLHandshakeRequest()
	hello.Version, hello.Mechanism = 1, string(s.Mechanism)
	resp, err := w.exchange(hello, 0)
	if err != nil {
		return err
	}
	if code := resp.(*kmsg.SASLHandshakeResponse).ErrorCode; code != 0 { //nolint:forcetypeassert // made by exchange
		return sarama.KError(code)
	}
	if s.Mechanism == Plain {
		_, err := w.prove([]byte(s.AuthIdentity + "\x00" + s.User + "\x00" + s.Password))
		return err
	}
	scram := s.SCRAMClientGeneratorFunc()
	if err := scram.Begin(s.User, s.Password, s.SCRAMAuthzID); err != nil {
		return err
	}
	challenge := ""
	for !scram.Done() {
		proof, err := scram.Step(challenge)
		if err != nil {
			return err
		}
		if scram.Done() {
			return nil
		}
		answer, err := w.prove([]byte(proof))
		if err != nil {
			return err
		}
		challenge = string(answer)
	}
	return nil
}

func (w *wire) prove(proof []byte) ([]byte, error) {
	req := kmsg.NewPtrSASLAuthenticateRequest()
	req.Version, req.SASLAuthBytes = 1, proof
	answer, err := w.exchange(req, 0)
	if err != nil {
		return nil, err
	}
	resp := answer.(*kmsg.SASLAuthenticateResponse) //nolint:forcetypeassert // made by exchange
	if resp.ErrorCode != 0 {
		return nil, sarama.KError(resp.ErrorCode)
	}
	return resp.SASLAuthBytes, nil
}

var errAnswer = errors.New("the broker's answer cannot be read")

// exchange writes a request and reads its answer. It uses versions without flexible headers only.
func (w *wire) exchange(req kmsg.Request, wait time.Duration) (kmsg.Response, error) {
	w.number++
	out := kmsg.NewRequestFormatter(kmsg.FormatterClientID(w.config.ClientID)).AppendRequest(nil, req, w.number)
	_ = w.conn.SetWriteDeadline(time.Now().Add(w.config.Net.WriteTimeout))
	if _, err := w.conn.Write(out); err != nil {
		return nil, err
	}
	_ = w.conn.SetReadDeadline(time.Now().Add(wait + w.config.Net.ReadTimeout))
	var head [8]byte
	if _, err := io.ReadFull(w.in, head[:]); err != nil {
		return nil, err
	}
	size, number := int64(binary.BigEndian.Uint32(head[:])), int32(binary.BigEndian.Uint32(head[4:]))
	if number != w.number || size < 4 || size > mostAnswer {
		return nil, errAnswer
	}
	body := make([]byte, size-4)
	if _, err := io.ReadFull(w.in, body); err != nil {
		return nil, err
	}
	resp := req.ResponseKind()
	if err := resp.ReadFrom(body); err != nil {
		return nil, errAnswer
	}
	return resp, nil
}
