// Package status keeps what became of every notification, for those who ask: a projection of the topics into SQL, which can
// be dropped and made again from them.
//
// The [Recorder] reads the job topics (what was accepted) and the status topic (what became of it), and hands what they say
// to a store in batches of [Change]. A store folds them: [Place] is the whole state machine, and a batch goes in one
// transaction with the positions that it was read to, so that every replica can tell what the store has seen. One process
// at a time records, by a lease in the store itself.
//
// The [Reconciler] says what no record says by itself: that something should have ended and has not, and that a receipt has not
// come.
//
// A store that is away, full or slow stops the recorder, never a delivery: it is tried again for ever, what is behind stays
// in Kafka, and everything that asks the store meanwhile is told so.
package status
