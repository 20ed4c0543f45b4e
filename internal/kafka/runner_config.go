package kafka

import (
	"context"
	"time"

	"go.uber.org/zap"
)

// Outbound is where a runner publishes: [Publisher] is one.
type Outbound interface {
	// PublishForever ends with an acknowledgement, with ctx, or with [ErrTooLarge]; the offset is -1 when unknown.
	PublishForever(ctx context.Context, m Message) (partition int32, offset int64, err error)
}

// RunnerConfig is what a [Runner] works with. The fields up to AttemptTimeout are required.
type RunnerConfig struct {
	Kafka          Config
	Group          string
	Topics         []string
	Handler        Handler
	Ledger         *Ledger
	Publisher      Outbound
	Log            *zap.Logger
	AttemptTimeout time.Duration // one deadline for a whole attempt

	Concurrency     int           // calls of the handler at once in this process; 64
	MaxWaiting      int           // outcomes of this process that wait for acknowledgement, beside the calls; 256
	MaxWaitingBytes int64         // of them; 1 MiB
	Drain           time.Duration // how long a revoke waits for attempts; below Group.RebalanceTimeout; 10s
	MaxRecords      int           // unfinished records of a partition; 4096
	MaxSpan         int64         // offsets between the oldest unfinished record and the newest started one; 16384
	MaxBytes        int64         // of unfinished records in this process; 64 MiB
	CommitEvery     time.Duration // 150ms
	Lease           time.Duration // nothing starts without a confirmed commit sent within it; 3s
	StallAfter      time.Duration // when a partition counts as standing still; 60s
	DedupeWindow    time.Duration // how long before the claim's newest outcome a take-over begins to read the ledger; 0 = at L
	DedupeRecords   int64         // of the ledger that it reads at most for that, those from L on included; 25,000
	DeleteAfter     time.Duration // for how long a record has been done until it is deleted from its topic; 0 = it never is
	DeleteEvery     time.Duration // 5min
	FetchBytes      int32         // of one partition in one fetch; 256 KiB
	Unordered       bool          // records of one key at once, too
	// ByDue are topics whose records wait in place (Result.Again) for times in any order, with the MaxRecords of a partition.
	// When all records of such a window wait, the oldest are called before their time with Attempt.Crowded, to make room.
	ByDue     map[string]int
	NoLedger  bool  // outcomes are nobody's business: what was not committed is done again after a crash
	readAhead int64 // see readAhead

	// FollowTopics are the topics in which jobs go on: the delay ladder's and the dead letters'. A take-over looks there for
	// what an owner that was killed has left behind.
	FollowTopics []string

	// Shrink gives what takes the place of what an attempt at r left behind, of which the first follow-on is refused by its
	// topic for its size and those before it are acknowledged. It is asked again about what it gave; one that is refused
	// without its value waits until its topic takes it.
	Shrink func(r *Record, res Result) Result
	// Undecodable returns the dead letter of a record batch that cannot be decoded. Its value is cut to what the topic takes.
	// Nil keeps none.
	Undecodable func(b *UndecodableBatch) Message
	// Panicked returns what becomes of a record whose handler has panicked three times. Nil tries it for ever.
	Panicked func(a *Attempt) Result
	// OnLedger is called for each ledger record about a job of the partition that a take-over reads, before its claim starts
	// anything; again when the take-over has to be tried again.
	OnLedger func(topic string, partition int32, r *Record)
	// OnTakeOver is called once a claim may start; reset when an operator has set its offset.
	OnTakeOver func(topic string, partition int32, reset bool)
	// OnAssigned is called for each topic whenever a session begins, with the partitions of it that this process has from now
	// on; it does not block.
	OnAssigned func(topic string, partitions []int32)
	// OnClaims is called whenever a session begins, with the number of partitions that this member holds and of all that the
	// topics have, and with none held when the session ends.
	OnClaims func(held, total int)
}

func (c RunnerConfig) withDefaults() RunnerConfig {
	def(&c.Concurrency, 64)
	def(&c.MaxWaiting, 256)
	def(&c.MaxWaitingBytes, 1<<20)
	def(&c.Drain, 10*time.Second)
	def(&c.MaxRecords, 4096)
	def(&c.MaxSpan, 16384)
	def(&c.MaxBytes, 64<<20)
	def(&c.CommitEvery, 150*time.Millisecond)
	def(&c.Lease, 3*time.Second)
	def(&c.StallAfter, time.Minute)
	def(&c.FetchBytes, 256<<10)
	def(&c.readAhead, readAhead)
	def(&c.DedupeRecords, 25_000)
	def(&c.DeleteEvery, trimEvery)
	if c.Shrink == nil {
		c.Shrink = func(_ *Record, res Result) Result { res.Follow[0].Value = nil; return res }
	}
	if c.OnLedger == nil {
		c.OnLedger = func(string, int32, *Record) {}
	}
	if c.OnTakeOver == nil {
		c.OnTakeOver = func(string, int32, bool) {}
	}
	if c.OnAssigned == nil {
		c.OnAssigned = func(string, []int32) {}
	}
	if c.OnClaims == nil {
		c.OnClaims = func(int, int) {}
	}
	return c
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// UndecodableBatch is a record batch of a job partition that cannot be decoded.
type UndecodableBatch struct {
	*Record          // the batch's place; Offset is the first, and Value is the batch as it is on the log
	LastOffset int64 // of the offsets that the batch takes
	Count      int32 // of its records, as its header says; 0 if that is not known
}
