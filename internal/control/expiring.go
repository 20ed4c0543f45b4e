package control

import (
	"sync/atomic"
	"time"
)

// mostTombstones is how many records [State.Expired] gives at most.
const mostTombstones = 1000

// expiring is a set of keys that are in force until their expiry. The zero value is empty. Its lock is that of [State].
type expiring[K comparable] struct {
	expiry map[K]int64  // in seconds since 1970
	size   atomic.Int64 // of expiry
}

// len returns the number of keys, the expired ones included. It needs no lock.
func (x *expiring[K]) len() int { return int(x.size.Load()) }

// applyLocked takes in e, or its tombstone, under its key.
func (x *expiring[K]) applyLocked(key K, e Entry, set bool) {
	if x.expiry == nil {
		x.expiry = map[K]int64{}
	}
	if set {
		x.expiry[key] = e.ExpiresAt.Unix()
	} else {
		delete(x.expiry, key)
	}
	x.size.Store(int64(len(x.expiry)))
}

// hasLocked reports whether the key is in force.
func (x *expiring[K]) hasLocked(key K) bool {
	expires, ok := x.expiry[key]
	return ok && time.Now().Unix() < expires
}

// expiredLocked appends tombstones of the keys whose time is over, up to [mostTombstones] records in all.
func (x *expiring[K]) expiredLocked(all []Record, now time.Time, entry func(K) Entry) []Record {
	for key, expires := range x.expiry {
		if len(all) == mostTombstones {
			break
		}
		if expires <= now.Unix() {
			all = append(all, entry(key).Tombstone())
		}
	}
	return all
}

// clearLocked removes all keys.
func (x *expiring[K]) clearLocked() {
	x.expiry = nil
	x.size.Store(0)
}
