// Package worker makes one attempt at a job: it reads the record, asks whether there is anything to send, hands the
// message to the channel's gateway and says, by the gateway's verdict, what comes next.
//
// It alone knows how often a job is tried, how long it waits in between, and what a refusing gateway means for the jobs
// behind it.
//
// A transient or ambiguous answer is followed by at most three retries, in process, each with its own deadline, then by a
// dead letter. A throttled job waits for as long as the provider asks, uncounted, until it expires. A gateway that refuses
// us altogether stops fetching, and one job is tried every 30 seconds until it is served again: that loses nothing and
// counts for nobody. What cannot be read or is not valid becomes a dead letter, its bytes untouched. What a job has gone
// through is remembered in this process alone: after a crash or a rebalance its budget begins anew.
package worker
