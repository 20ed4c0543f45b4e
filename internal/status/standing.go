package status

import "github.com/laudspeaker/laudspeaker/internal/notify"

// Open is a notification that has not ended, and where its furthest record is that the store knows: the zero place where it
// knows none.
type Open struct {
	notify.Life
	Record RecordPlace
}

// Standing is how a store says that a notification stands.
type Standing struct {
	State notify.State
	Final bool
	Run   int
	Place int64 // of the event that gave the state, see [Place]
}
