package notify

import "time"

// Waiting says why a notification waits: no gateway of its route can be called.
type Waiting struct {
	Gateway string    `json:"gateway"`          // the first of the route that refuses calls
	Code    string    `json:"code,omitempty"`   // the provider's, or "paused"
	Reason  string    `json:"reason,omitempty"` // without recipients and secrets
	Since   time.Time `json:"since"`
}

// CodePaused is the code of a [Waiting] for a gateway that an operator has paused.
const CodePaused = "paused"

// LaneWaiting says that jobs of a lane wait because no gateway of their route can be called.
type LaneWaiting struct {
	Waiting
	Part           float64  `json:"part"`                      // of the lane's partitions, from 0 to 1
	RecipientTypes []string `json:"recipient_types,omitempty"` // of channel push: those that wait; absent: all
}

// GatewayStatus is a gateway that some worker processes cannot call, or that an operator has paused.
type GatewayStatus struct {
	Waiting
	Paused    bool `json:"paused"`
	Processes int  `json:"processes"` // that cannot call it
}
