// Package kafka is the bus: it publishes records, and runs a handler over the records of a consumer group so that each is
// done once, in order per key, unless something is killed in the middle of it.
//
// It alone knows Sarama. It knows bytes, keys and headers and nothing of what they mean.
//
// [Publisher] says "durable" only after every in-sync replica has the record. An error means that nobody knows: the record
// may be on the log all the same.
//
// [Runner] remembers what is done in three places, because each alone repeats work after a fault:
//
//   - a commit carries the watermark and, in its metadata, a bitmap of what is done above it (metadata, tracker). A clean
//     stop or a rebalance repeats nothing.
//   - the ledger, a topic, holds the outcome of each job before its slot is free, and a claim that is taken over reads it
//     from the offset L of the last commit on (Ledger, progress, start). What was acknowledged is not repeated after a
//     kill either.
//   - the process remembers what it still has in flight over sessions (flight). A rebalance does not start it twice, and
//     what ends counts only for a record of the same id.
//
// A confirmed commit is the lease: without a recent one nothing new is started, so that a member that the group has left
// behind soon falls silent. What it has in hand it may end, but not bring back as another record (Attempt.Owned).
//
// The order of one attempt is provider, follow-ons acknowledged, outcome acknowledged, done. With the brokers away a
// runner waits with no more than its concurrency in hand, publishes for ever, and loses nothing. What it may repeat: the
// attempts that were in flight when a process or a broker was killed or frozen, each once per fault.
//
// Locks: one lock guards all state of a runner; the ledger's known ends have small ones of their own that nothing is
// called under.
package kafka
