// Package drain knows how fast the lanes empty, and when bulk has to be refused so that what is urgent does not suffer.
//
// It measures Kafka itself, every two seconds and in few requests: where the topics of lanes end, and what the workers'
// commits say is done. So every process of the API sees the same figures, whichever worker does the work. A [Gauge] answers
// at once from what it measured last.
//
// While Kafka does not answer the last figures stand, with their age; after half a minute they mean nothing, and nothing is
// refused for their sake.
package drain
