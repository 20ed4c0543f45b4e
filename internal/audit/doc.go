// Package audit accounts for every notification in the topics: each has ended, is in flight, is waiting, is held for a manual
// decision, or is a dead letter. Any other notification is unaccounted for. The status store is read only to compare it with
// the topics.
//
// Only this package knows when the records of a notification add up, even while everything is running. A group commits an
// offset only after the records that follow from the processed record, and then its outcome, have been acknowledged. Therefore
// the audit reads the commits of all groups first, then the end of the status topic, then the ends of all other topics. Each
// record that must exist because of a commit or event within these bounds is within the bounds too. If it is missing there, it
// is missing.
//
// The audit keeps an entry of fixed size for each record, first in memory and beyond a limit in a temporary file. It judges
// entries by notification, one part of all ids (1/256) at a time. Apart from this part, memory does not grow with the log. The
// temporary file holds no recipients and no contents. Nothing else is written.
//
// Failure policy: a problem with Kafka, the store or the disk ends the audit with an error, and is never reported as a finding.
// Jobs that are older than the records that the status topic still holds are counted as unknowable, not as unaccounted for.
package audit
