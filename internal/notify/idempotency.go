package notify

import "time"

// KeyLifetime is how long an idempotency key stands for its request: from when a request was last given the key. Then it is
// free, unless that request is still under way.
const KeyLifetime = 24 * time.Hour

// IDLifetime is how long the claim of an id counts. By then the status store has the notification, which counts instead.
const IDLifetime = 24 * time.Hour

// Claim asks for an idempotency key. Whoever is given it publishes, and says by a [Settlement] what came of that.
type Claim struct {
	Tenant, Key string    // what stands for the key as the caller wrote it
	Fingerprint [32]byte  // of what is submitted: under one key only the same may be submitted again
	ID          string    // of the notification if the key is free
	Token       string    // of this claim alone
	At          time.Time // now
	Until       time.Time // when nobody publishes by this claim any more, whatever has become of its owner
}

// ClaimState is what a claim has led to.
type ClaimState int

// The states of a claim.
const (
	ClaimGranted  ClaimState = iota + 1 // publish under the id of the answer
	ClaimAnswered                       // the first request has been answered
	ClaimInFlight                       // somebody publishes under the key just now
	ClaimMismatch                       // something else was submitted under the key
)

// Claimed answers a [Claim].
type Claimed struct {
	State  ClaimState
	ID     string // of the key's notification, whoever was first
	First  bool   // of a granted one: nobody can have published under the id
	Answer []byte // of an answered one: as it was settled
}

// Settlement says what came of a granted claim. One whose claim has been taken over since, or whose key has become free,
// changes nothing.
type Settlement struct {
	Tenant, Key, Token string
	Outcome            Outcome
	Answer             []byte // of an answered one
}

// IDClaim asks whether an id that a caller has chosen may stand for a notification with that content.
type IDClaim struct {
	ID      string // as [ParseID] gives it
	Content Content
	At      time.Time // now
}

// Outcome is how a granted claim ended.
type Outcome int

// The outcomes of a claim.
const (
	OutcomeAnswered Outcome = iota + 1 // the notification is a job: whoever repeats it gets the answer
	OutcomeUnclear                     // it may be one: whoever repeats it publishes it at once, under the same id
	OutcomeRefused                     // it is none: the key is free
)
