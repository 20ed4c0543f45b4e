// Package limiter limits the calls to one gateway: how many run at the same time, how many begin per second, and which lane
// goes first.
//
// Only this package knows how the concurrency slots are shared between the lanes, how this process's part of a cluster-wide
// rate becomes a token bucket, and how far a throttle or an outage of the provider reduces the rate or the slots.
//
// Nothing is retried here. A caller that gets no slot and no token in time receives [ErrNotAcquired] and has called nobody.
// All state is in memory: after a restart the rate and the concurrency are as configured.
package limiter
