// Package control is what operators and callers tell every process at once: what is paused, cancelled or suppressed. It is
// a compacted topic of one partition, so that its last record under a key is what holds, and it is read whole.
//
// It alone knows the records. An [Entry] becomes one by [Entry.Record], is taken back by [Entry.Tombstone], and comes back
// by [Decode]. [State] is what the topic says, read by many goroutines for each attempt; it knows neither Kafka nor how
// far it has been read: whoever feeds it starts nothing before that has reached the end.
//
// The order is the log's, never that of the clocks which wrote the times: a host whose clock is late can lift a pause all
// the same. A record that is not understood is counted and changes nothing, so that a newer build, or a slip of somebody
// who writes by hand, stops nobody. It takes the place of the good one under its key when the topic is compacted, which
// processes that start later then do not see: set the pause again.
package control
