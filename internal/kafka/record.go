package kafka

import "time"

// Header is one header of a record.
type Header struct {
	Key   string
	Value []byte
}

// Record is a record as it was read. Its bytes belong to the reader; nobody changes them.
type Record struct {
	Cluster   string // Kafka's cluster id
	Topic     string
	Partition int32
	Offset    int64
	Timestamp time.Time
	Key       []byte // nil = null
	Value     []byte // nil = null
	Headers   []Header
}

// Header gives the last value of the header key.
func (r *Record) Header(key string) (string, bool) {
	for i := len(r.Headers) - 1; i >= 0; i-- {
		if r.Headers[i].Key == key {
			return string(r.Headers[i].Value), true
		}
	}
	return "", false
}

// Hashed as a message's Partition lets its key choose, by murmur2 as Kafka's Java client does; a null or empty key is
// spread evenly.
const Hashed int32 = -1

// Message is a record to be published.
type Message struct {
	Topic     string
	Partition int32 // taken modulo the topic's count, or Hashed
	Key       []byte
	Value     []byte
	Headers   []Header
}
