package control

import (
	"sync/atomic"
	"time"
)

// maxTombstones is the maximum number of records that [State.Expired] returns.
const maxTombstones = 1000

// expiringSet is a set of keys that are in force until they expire. The zero value is empty. The mutex of [State] protects it.
type expiringSet[K comparable] struct {
	expiry map[K]int64  // in seconds since 1970
	size   atomic.Int64 // of expiry
}

// len returns the number of keys, the expired ones included. It needs no lock.
func (x *expiringSet[K]) len() int { return int(x.size.Load()) }

// applyLocked adds the key with the expiry of e, or removes the key if set is false.
func (x *expiringSet[K]) applyLocked(key K, e Entry, set bool) {
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
func (x *expiringSet[K]) hasLocked(key K) bool {
	expires, ok := x.expiry[key]
	return ok && time.Now().Unix() < expires
}

// expiredLocked appends tombstones of the expired keys, until all has [maxTombstones] records.
func (x *expiringSet[K]) expiredLocked(all []Record, now time.Time, entry func(K) Entry) []Record {
	for key, expires := range x.expiry {
		if len(all) == maxTombstones {
			break
		}
		if expires <= now.Unix() {
			all = append(all, entry(key).Tombstone())
		}
	}
	return all
}

// clearLocked removes all keys.
func (x *expiringSet[K]) clearLocked() {
	x.expiry = nil
	x.size.Store(0)
}
