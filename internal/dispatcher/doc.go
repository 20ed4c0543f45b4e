// Package dispatcher says where a job goes next: onto the bus when a notification is accepted, and from a worker to its
// last event and, where a person may want to send it again, to its dead letters.
//
// It alone knows how topics and groups are named and which headers a dead letter carries. [Dispatcher] publishes once and
// never repeats: whoever gets [notify.ErrBusUnavailable] repeats with the same id, since the job may be on the log all the
// same. [Desk] does no I/O: it writes what the consumer-group runner then publishes, for as long as it takes. Of a job
// nothing is lost here but the value of a dead letter that its topic refuses for its size.
package dispatcher
