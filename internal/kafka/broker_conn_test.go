package kafka

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// peers gives a connection and its broker's end, which takes all that is written.
func peers(t *testing.T) (*brokerConn, net.Conn) {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { _ = theirs.Close() })
	go func() { _, _ = io.Copy(io.Discard, theirs) }()
	c := newBrokerConn(ours, 45*time.Second, func() bool { return true })
	t.Cleanup(func() { _ = c.Close() })
	return c, theirs
}

func encodeRequest(r kmsg.Request) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("laudspeaker")).AppendRequest(nil, r, 7)
}

func send(t *testing.T, c net.Conn, r kmsg.Request) {
	t.Helper()
	_, err := c.Write(encodeRequest(r))
	require.NoError(t, err)
}

// answer is a frame of that many bytes after its length.
func answerOf(size int) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(size)), make([]byte, size)...)
}

// silentAfter reads until it fails, and gives how long that took.
func silentAfter(t *testing.T, c net.Conn) (time.Duration, error) {
	t.Helper()
	began := time.Now()
	require.NoError(t, c.SetReadDeadline(began.Add(45*time.Second))) // as Sarama does
	_, err := io.Copy(io.Discard, c)
	return time.Since(began), err
}

func fetchOf(version int16, wait time.Duration) kmsg.Request {
	r := kmsg.NewPtrFetchRequest()
	r.SetVersion(version)
	r.MaxWaitMillis = int32(wait.Milliseconds())
	return r
}

func produceOf(version, acks int16, wait time.Duration) kmsg.Request {
	r := kmsg.NewPtrProduceRequest()
	r.SetVersion(version)
	r.Acks, r.TimeoutMillis = acks, int32(wait.Milliseconds())
	return r
}

func TestBrokerConn_SilenceIsBorneAsLongAsTheRequestMayTake(t *testing.T) {
	for name, c := range map[string]struct {
		request kmsg.Request
		within  time.Duration
	}{
		"metadata":                     {kmsg.NewPtrMetadataRequest(), 2 * time.Second},
		"versions":                     {kmsg.NewPtrApiVersionsRequest(), 2 * time.Second},
		"coordinator":                  {kmsg.NewPtrFindCoordinatorRequest(), 2 * time.Second},
		"heartbeat":                    {kmsg.NewPtrHeartbeatRequest(), 5 * time.Second},
		"commit":                       {kmsg.NewPtrOffsetCommitRequest(), 5 * time.Second},
		"join":                         {kmsg.NewPtrJoinGroupRequest(), 45 * time.Second},
		"sync":                         {kmsg.NewPtrSyncGroupRequest(), 45 * time.Second},
		"creation of topics":           {kmsg.NewPtrCreateTopicsRequest(), 45 * time.Second},
		"fetch":                        {fetchOf(11, 100*time.Millisecond), 5 * time.Second},
		"fetch that waits long":        {fetchOf(11, 30*time.Second), 32 * time.Second},
		"fetch of the newest version":  {fetchOf(17, 30*time.Second), 32 * time.Second},
		"fetch without a sane wait":    {fetchOf(11, -time.Second), 5 * time.Second},
		"produce":                      {produceOf(8, -1, time.Second), 5 * time.Second},
		"produce that waits long":      {produceOf(8, -1, 10*time.Second), 12 * time.Second},
		"produce of the first version": {produceOf(2, -1, 10*time.Second), 12 * time.Second},
		"produce of a later version":   {produceOf(11, -1, 10*time.Second), 12 * time.Second},
		"produce without an answer":    {produceOf(8, 0, time.Second), 45 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, _ := peers(t)
				send(t, conn, c.request)
				took, err := silentAfter(t, conn)
				require.Equal(t, c.within, took)
				if name == "produce without an answer" {
					require.ErrorIs(t, err, os.ErrDeadlineExceeded, "nothing is owed: the deadline is the caller's")
					return
				}
				require.ErrorIs(t, err, net.ErrClosed, "Sarama must not go on with the connection")
				require.ErrorContains(t, err, kmsg.NameForKey(c.request.Key()))
				_, err = conn.Write([]byte("x"))
				require.ErrorIs(t, err, io.ErrClosedPipe)
			})
		})
	}
}

// A broker answers in order: while it owes a slow answer, a quick one behind it is not late.
func TestBrokerConn_ARequestWaitsForThoseBeforeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, broker := peers(t)
		send(t, conn, kmsg.NewPtrJoinGroupRequest())
		send(t, conn, kmsg.NewPtrHeartbeatRequest())
		send(t, conn, kmsg.NewPtrMetadataRequest())
		go func() {
			<-time.After(40 * time.Second)
			_, _ = broker.Write(answerOf(20))
			<-time.After(4 * time.Second)
			_, _ = broker.Write(answerOf(20))
		}()
		began := time.Now()
		_, err := io.Copy(io.Discard, conn) // without a deadline of the caller's
		require.Equal(t, (40+4+2)*time.Second, time.Since(began))
		require.ErrorContains(t, err, "Metadata")
	})
}

func TestBrokerConn_ALargeAnswerMayTakeItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, broker := peers(t)
		send(t, conn, fetchOf(11, 0))
		go func() {
			whole := answerOf(9)
			for i := range whole {
				<-time.After(3 * time.Second)
				_, _ = broker.Write(whole[i : i+1])
			}
		}()
		content := make([]byte, 13)
		_, err := io.ReadFull(conn, content)
		require.NoError(t, err)
		send(t, conn, kmsg.NewPtrMetadataRequest())
		took, err := silentAfter(t, conn)
		require.Equal(t, 2*time.Second, took, "of a request that begins only now")
		require.ErrorIs(t, err, net.ErrClosed)
	})
}

func TestBrokerConn_TheCallersDeadlineHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, _ := peers(t)
		send(t, conn, kmsg.NewPtrHeartbeatRequest())
		require.NoError(t, conn.SetDeadline(time.Now().Add(3*time.Second)))
		began := time.Now()
		_, err := conn.Read(make([]byte, 1))
		require.Error(t, err)
		require.Equal(t, 3*time.Second, time.Since(began))
	})
}

// A read that was there before the request ends in time, too.
func TestBrokerConn_ARequestLimitsTheReadUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, _ := peers(t)
		ended := make(chan error)
		go func() { _, err := conn.Read(make([]byte, 1)); ended <- err }()
		synctest.Wait()
		send(t, conn, kmsg.NewPtrMetadataRequest())
		require.ErrorIs(t, <-ended, net.ErrClosed)
	})
}

func TestAnswerFrames_CountsWhateverThePieces(t *testing.T) {
	var stream []byte
	for _, size := range []int{0, 5, 1, 0, 300} {
		stream = append(stream, answerOf(size)...)
	}
	for piece := 1; piece <= len(stream); piece++ {
		var f answerFrames
		ended := 0
		for at := 0; at < len(stream); at += piece {
			ended += f.count(stream[at:min(at+piece, len(stream))])
		}
		require.Equal(t, 5, ended, "in pieces of %d", piece)
	}
}

func FuzzReadRequest(f *testing.F) {
	for version := range int16(14) {
		f.Add(encodeRequest(produceOf(version, -1, time.Second)))
	}
	for version := range int16(18) {
		f.Add(encodeRequest(fetchOf(version, time.Second)))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		h, ok := readRequest(p)
		require.True(t, ok || h == requestHead{})
		require.True(t, h.wait >= 0 && h.wait <= time.Hour)
	})
}

// A broker that freezes is noticed by the request, not by the length of a rebalance, also above TLS and SASL.
func TestBrokerConn_AFrozenBrokerIsNoticedThroughTLSAndSASL(t *testing.T) {
	ca := newCA(t)
	server := ca.issue(t, "127.0.0.1")
	secureTLS := TLS{Enabled: true, CAFile: ca.file}
	listen := kfake.TLS(&tls.Config{Certificates: []tls.Certificate{server.pair(t)}})
	sasl := []kfake.Opt{kfake.EnableSASL(), kfake.Superuser(ScramSHA512, "ada", secret)}
	for name, c := range map[string]struct {
		opts []kfake.Opt
		tls  TLS
		sasl SASL
	}{
		"plain":        {},
		"TLS":          {opts: []kfake.Opt{listen}, tls: secureTLS},
		"SASL":         {opts: sasl, sasl: SASL{ScramSHA512, "ada", secret}},
		"TLS and SASL": {opts: append(sasl, listen), tls: secureTLS, sasl: SASL{ScramSHA512, "ada", secret}},
	} {
		t.Run(name, func(t *testing.T) {
			freezer := newFreezer()
			cfg := cluster(t, append(c.opts, kfake.ListenFn(freezer.listen), kfake.SeedTopics(1, "t"))...)
			t.Cleanup(freezer.thaw)
			cfg.TLS, cfg.SASL = c.tls, c.sasl
			sc, err := cfg.group()
			require.NoError(t, err)
			require.Equal(t, 45*time.Second, sc.Net.ReadTimeout)
			broker := sarama.NewBroker(cfg.Brokers[0])
			require.NoError(t, broker.Open(sc))
			defer broker.Close()
			_, err = broker.GetMetadata(sarama.NewMetadataRequest(sc.Version, []string{"t"}))
			require.NoError(t, err)
			freezer.freeze()
			_, err = broker.GetMetadata(sarama.NewMetadataRequest(sc.Version, []string{"t"}))
			require.ErrorIs(t, err, net.ErrClosed)
			require.ErrorContains(t, err, "no answer to a Metadata request")
			connected, _ := broker.Connected()
			require.False(t, connected, "Sarama must dial again")
		})
	}
}

// A broker that takes connections and does not shake hands holds nobody for longer than one that does not answer.
func TestBrokerConn_AHandshakeEnds(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	ca := newCA(t)
	sc, err := Config{Brokers: []string{silent.Addr().String()}, TLS: TLS{Enabled: true, CAFile: ca.file}}.base()
	require.NoError(t, err)
	sc.Net.ReadTimeout = 50 * time.Millisecond
	_, err = sc.Net.Proxy.Dialer.Dial("tcp", silent.Addr().String())
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// The system watches over every connection, whatever client it is of.
func TestBrokerConn_EveryClientDialsThroughIt(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	cfg := Config{Brokers: []string{l.Addr().String()}}
	for name, make := range map[string]func() (*sarama.Config, error){
		"group": cfg.group, "commits": cfg.commits,
		"API's publisher":    func() (*sarama.Config, error) { return cfg.producer(false) },
		"worker's publisher": func() (*sarama.Config, error) { return cfg.producer(true) },
	} {
		sc, err := make()
		require.NoError(t, err)
		require.NoError(t, sc.Validate())
		require.True(t, sc.Net.Proxy.Enable)
		conn, err := sc.Net.Proxy.Dialer.Dial("tcp", cfg.Brokers[0])
		require.NoError(t, err)
		require.IsType(t, &brokerConn{}, conn, name)
		requireWatched(t, conn.(*brokerConn).Conn.(*net.TCPConn))
		require.NoError(t, conn.Close())
	}
}
