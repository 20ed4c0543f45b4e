// Package embedded is the broker for a single host and for tests: kfake, which speaks Kafka's protocol and writes to disk,
// made fit for that use.
//
// It alone knows kfake, and what has to be done around it: it lets one process only into a directory, answers on loopback
// only (there is no access control), refuses bytes that are no Kafka request, deletes in whole segments and only what every
// reader has finished (what the status store alone has not read goes last), says [Broker.Full] before the disk or the memory
// budget is, and hands back the memory that reading the log at a start has cost.
//
// What is acknowledged has been written and fsynced and survives kill -9. A power cut may take the last writes where the
// file system had not yet recorded a new segment file, and an fsync that fails is not noticed. After a kill -9 the
// retries of an idempotent producer may leave a record twice on the log. There is one copy of everything and no fail-over.
package embedded

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/zap"
)

// Config is where the broker keeps its log and answers.
type Config struct {
	Dir      string // made with mode 0700 if need be
	Listen   string // host:port on loopback; port 0 takes a free one
	MaxBytes int64  // of all topics together: a start reads them into memory; 1 GiB
	MinFree  int64  // free space that the disk must keep; 256 MiB
	Log      *zap.Logger

	// Topics names the groups that read each topic. A record of a topic with groups is deleted only once all of them
	// have committed past it. What is not named here is deleted by age alone.
	Topics map[string][]string
	// Ledger is the topic that a commit's metadata points into; see [Ledger].
	Ledger Ledger
	// Recorder reads for the status store.
	Recorder Recorder
	// Identify names a record for the log, from its value and headers; nil names none. A header that is missing is empty.
	Identify func(value []byte, header func(key string) string) string
}

// Recorder is a group whose commits say how far the topics have been read that it reads. What is finished waits for it, but
// must not stop the rest: it is deleted unread where there would be no room for new records. The zero value: there is none.
type Recorder struct {
	Group  string
	Topics []string
}

// Ledger says up to where the ledger topic is needed. The zero value: there is none.
type Ledger struct {
	Topic string
	// Needed reads the metadata of a commit of a job topic's partition: records of the ledger's partition from offset on
	// are still needed. ok is false when the metadata does not say; then nothing of the ledger is deleted early.
	Needed func(jobPartition int32, metadata string) (partition int32, offset int64, ok bool)
}

const (
	maxSegment = 16 << 20
	minSegment = 1 << 20
	never      = 100 * 365 * 24 * time.Hour
)

// Broker is one that answers, from [Open] until [Broker.Close].
type Broker struct {
	cfg     Config
	lock    *os.File
	cluster *kfake.Cluster
	addr    string
	full    atomic.Pointer[FullError]
	losing  bool // the recorder is deprived of records
	aside   []SetAside
	closing sync.Once
}

// Open reads the log and starts to answer. It fails with a [*LockedError] when another process has the directory and with
// a [*PortError] when the port is taken.
func Open(cfg Config) (*Broker, error) {
	cfg.MaxBytes = cmp.Or(cfg.MaxBytes, 1<<30)
	cfg.MinFree = cmp.Or(cfg.MinFree, 256<<20)
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("embedded broker: %w", err)
	}
	cfg.Dir = dir
	b := &Broker{cfg: cfg}
	if b.lock, err = lockDir(dir); err != nil {
		return nil, err
	}
	if err := b.open(); err != nil {
		b.lock.Close()
		return nil, err
	}
	return b, nil
}

func (b *Broker) open() error {
	l, err := listen(b.cfg.Listen)
	if err != nil {
		return err
	}
	b.addr = l.Addr().String()
	before := Exists(b.cfg.Dir)
	s := &salvager{dir: b.cfg.Dir, identify: b.cfg.Identify, log: b.cfg.Log}
	if err := s.salvage(); err != nil {
		l.Close()
		return err
	}
	b.aside = s.found
	b.cluster, err = kfake.NewCluster(b.options(l)...)
	if err != nil {
		l.Close()
		return fmt.Errorf("embedded broker: read the log in %s: %w", b.cfg.Dir, err)
	}
	(&inspector{cluster: b.cluster, log: b.cfg.Log}).install()
	if before {
		holdGroups(b.cluster)
	}
	debug.FreeOSMemory() // the whole log has just been through the heap
	b.check()
	return nil
}

func (b *Broker) options(l net.Listener) []kfake.Opt {
	segment := min(max(b.cfg.MaxBytes/64, minSegment), maxSegment)
	return []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.ListenFn(func(_, _ string) (net.Listener, error) { return &guardedListener{l}, nil }),
		kfake.DataDir(b.cfg.Dir),
		kfake.SyncWrites(),
		kfake.ClusterID(newClusterID()), // kept from the first start on
		kfake.WithLogger(logger{b.cfg.Log}),
		kfake.BrokerConfigs(map[string]string{
			"log.segment.bytes": strconv.FormatInt(segment, 10),
			// kfake's own retention deletes unread records, and the last segment, after which a crash forgets the offsets.
			"log.cleaner.backoff.ms": strconv.FormatInt(never.Milliseconds(), 10),
			// An offset that expires sends everything again.
			"offsets.retention.minutes": strconv.Itoa(1<<31 - 1),
		}),
	}
}

// Addr is the host:port that answers.
func (b *Broker) Addr() string { return b.addr }

// SetAside returns what was damaged on the log at this start. See the folder quarantine for that of earlier ones.
func (b *Broker) SetAside() []SetAside { return b.aside }

// Full is nil while there is room for new records. Otherwise it is a [*FullError], and admission must stop: what is on
// the log is unfinished and will not be deleted.
func (b *Broker) Full() error {
	if f := b.full.Load(); f != nil {
		return f
	}
	return nil
}

// Run keeps the log within its bounds until ctx ends, then closes the broker.
func (b *Broker) Run(ctx context.Context) error {
	defer b.Close()
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			b.check()
		}
	}
}

// Close ends all connections and saves what makes the next start quick. It must not run at the same time as [Broker.Run];
// calling it twice is no error.
func (b *Broker) Close() error {
	b.closing.Do(func() {
		b.cluster.Close()
		b.lock.Close()
	})
	return nil
}

// Exists reports whether dir holds the log of an embedded broker.
func Exists(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "meta.json"))
	return err == nil
}

func listen(addr string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("embedded broker: listen address %q is not host:port, such as 127.0.0.1:9092", addr)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("embedded broker: it has no access control, so it listens on loopback only (127.0.0.1:%s), not on %q", port, host)
	}
	l, err := net.Listen("tcp", addr)
	if isInUse(err) {
		return nil, &PortError{Addr: addr, Free: freeAddr(host), Err: err}
	}
	if err != nil {
		return nil, fmt.Errorf("embedded broker: listen on %s: %w", addr, err)
	}
	return l, nil
}

// freeAddr finds a port that was free a moment ago.
func freeAddr(host string) string {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return ""
	}
	defer l.Close()
	return l.Addr().String()
}

// logger passes on what kfake warns of. At its lower levels it speaks of every connection.
type logger struct{ log *zap.Logger }

func (l logger) Logf(level kfake.LogLevel, format string, args ...any) {
	if level == kfake.LogLevelError || level == kfake.LogLevelWarn {
		l.log.Warn("embedded broker", zap.String("says", fmt.Sprintf(format, args...)))
	}
}
