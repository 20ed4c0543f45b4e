// Package backlog measures the backlog of every lane and decides when notifications of lane bulk are refused (load shedding),
// so that urgent notifications do not suffer.
//
// Only this package knows how long a lane takes to drain, and which drain time begins and ends the shedding. A [Monitor]
// measures Kafka itself, every two seconds and in few requests: the ends of the lanes' topics, and the positions that the
// workers have committed. So every process of the API sees the same figures, whichever worker does the work. The monitor
// answers at once, from its last measurement.
//
// Failure policy: while Kafka does not answer, the last figures stay valid for half a minute, and their age is reported. After
// that time the figures count as unknown, and no notification is refused because of them.
package backlog
