// Package worker makes one attempt at a job: it reads the record, asks whether there is anything to send, hands the message
// to a gateway of the channel's route and says, by the verdict, what comes next.
//
// It alone knows how often a job is tried and how long it waits in between, which gateway is asked first, what a gateway that
// refuses us means for the jobs behind it, and which jobs have been dealt with before.
//
//	read → seen before? → refused? cancelled? suppressed? expired? in doubt? not due? → route → verdict → outcome
//
// A job that has to wait leaves its partition for the delay ladder, as the next step of its run; three kinds of waiting stay in
// place, because they are not about the job: for a gateway that works for us (fetching stops, and nothing is counted); where
// the order of a key is strict, for the job before; and, when the lease has run out, for word that the partition is still ours.
// What cannot be read or is not valid becomes a dead letter, its bytes untouched. What is remembered here (finished ids, what
// waits in place) is remembered in this process alone; the ledger brings the ids back to whoever takes a partition over.
package worker
