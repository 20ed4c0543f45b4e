package notify

import "slices"

// State is a notification's place in its life.
type State string

// The states of the contract.
const (
	StateQueued     State = "queued"
	StateScheduled  State = "scheduled"
	StateRetrying   State = "retrying"
	StateHeld       State = "held"
	StateLost       State = "lost" // Kafka no longer has the record, and no result is known
	StateSent       State = "sent"
	StateDelivered  State = "delivered"
	StateBounced    State = "bounced"
	StateRejected   State = "rejected"
	StateExpired    State = "expired"
	StateSuppressed State = "suppressed"
	StateCancelled  State = "cancelled"
	StateDead       State = "dead"
	StateReceived   State = "received" // no notification: a text that came from somebody to whom none is known
)

// States lists the states, in the order in which they are shown to people.
func States() []State {
	return []State{
		StateQueued, StateScheduled, StateRetrying, StateHeld, StateLost, StateSent, StateDelivered, StateBounced,
		StateRejected, StateExpired, StateSuppressed, StateCancelled, StateDead, StateReceived,
	}
}

// Known reports whether s is one of the contract's.
func (s State) Known() bool { return slices.Contains(States(), s) }

// Rank orders the states of one run: an event of a lower rank than what is known changes nothing.
func (s State) Rank() int {
	switch s {
	case StateQueued:
		return 0
	case StateScheduled, StateRetrying:
		return 1
	case StateHeld, StateLost:
		return 2
	case StateSent:
		return 3
	default:
		return 4
	}
}

// Final reports whether a run ends in s: nothing is sent for it any more. A gateway with receipts may still turn sent into
// delivered or bounced.
func (s State) Final() bool { return s.Rank() >= 3 }
