package status

import "github.com/laudspeaker/laudspeaker/internal/notify"

// Standing is how a store says that a notification stands.
type Standing struct {
	State notify.State
	Final bool
	Run   int
	Place int64 // of the event that gave the state, see [Place]
}
