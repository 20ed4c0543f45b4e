// Package audit accounts for every notification that the topics know of: it has ended, is in flight, waits, is held for a
// person or is a dead letter. What is none of these is unaccounted for, a hole. The status store is not asked, unless to
// compare it.
//
// It alone knows when the records of one notification add up, also while everything runs. Whatever a group's commit says is
// done was done only after the records that follow from it, and then its outcome, were acknowledged. So the commits of all
// groups are read first, then the end of the status topic, then the ends of all others: what a commit or an event within
// these bounds promises lies within them too, and what is missing there is missing.
//
// Of each record an entry of fixed size is kept, first in memory, beyond a limit in a temporary file; entries are judged by
// notification, a part of all ids at a time. Memory does not grow with the log but for that part, a 256th of it.
//
// What cannot be known is counted apart, and is no hole: the outcomes of jobs that are older than what the status topic still
// holds. Trouble with Kafka, the store or the disk ends an audit with an error; it is never taken for a result. Nothing is
// written anywhere but to the temporary file, which holds no recipients and no contents.
package audit
