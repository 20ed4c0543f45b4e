// Package bench measures Laudspeaker beside the bare libraries on the same machine, in the same minutes.
//
// A run starts every role as a process of its own, with a generated configuration in a temporary directory, and ends and removes
// everything when it is over. A baseline leg and a leg of Laudspeaker alternate: the baseline of ingest and latency is a bare HTTP
// server with one Sarama send per request, the baseline of deliver is the library of the gateway alone, and the baseline of store
// is a multi-row insert. The sinks are processes too, so that their CPU time is counted apart.
//
// Only this package knows the reference figures (reference.go), how the CPU time and the memory of a process are read
// (/proc; on other systems these figures are missing), and which messages it has sent: each message has a number, and the audit
// compares the numbers that the API accepted with the numbers that the sink accepted.
//
// A run fails when a process ends before it should, or when an accepted message does not arrive. A slow result is no failure.
package bench
