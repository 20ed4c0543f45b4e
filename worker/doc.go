// Package worker makes one delivery attempt for a job: it reads the record, decides whether there is anything to send, calls a
// gateway of the channel's route, and decides by the verdict what happens next.
//
// Only this package knows how often a job is tried and how long the backoff is, which gateway is called first, what an
// unavailable gateway means for the jobs behind, and which jobs this process has already finished.
//
//	read → duplicate? → rejected? cancelled? suppressed? expired? in doubt? not due? → route → verdict → outcome
//
// A job that has to wait is published to the delay ladder as the next step of its run. Three kinds of waiting stay in place,
// because their reason is not the job itself: no gateway is available (fetching stops, and no attempt is counted); the order of
// a key is strict, so the job waits for the job before it; the lease has run out, so the worker waits until it knows that the
// partition is still its own.
//
// A record that cannot be read or is not valid becomes a dead letter with unchanged bytes. The IDs of finished jobs and the
// jobs that wait in place are only in memory. A worker that takes a partition over reads the IDs back from the ledger.
package worker
