// Package control defines the control topic, by which operators and callers pause, cancel and suppress in all processes at once.
// The topic is compacted and has one partition: the last record of a key is in force. Each process reads the whole topic.
//
// Only this package knows the format of the records. [Entry.Record] encodes an [Entry], [Entry.Tombstone] revokes it, and
// [Decode] decodes it. [State] holds the entries in force, for concurrent reads by each attempt. State knows neither Kafka nor
// how far the topic has been read: the process that feeds it must start no work before it has read the topic to its end.
//
// The order of the entries is the order of the log, never the order of the clocks that wrote their times: a host with a slow
// clock can still lift a pause.
//
// Failure policy: a record that cannot be decoded is counted and changes nothing, so that a newer version, or a mistake of
// somebody who writes records by hand, stops no process. When the topic is compacted, such a record replaces the valid record
// of its key. Processes that start later then do not see the entry: set the pause again.
package control
