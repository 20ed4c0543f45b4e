package status

import "github.com/laudspeaker/laudspeaker/internal/notify"

// Place orders the events of one notification by what they say of its state: the state is that of the event with the
// highest place. Of several with the same place the earliest counts, then the one with the smaller event id, so that the
// order in which they are read, and how often, makes no difference.
//
// From the highest bit on: run, rank, whether it is final, and within a rank the step of what waits, and bounced before all
// other ends: a message that bounces after it was delivered has not arrived. An event that leaves the state as it is (a
// note) has the place -1.
func Place(e *notify.Event) int64 {
	if e.Note != "" {
		return -1
	}
	const runs, steps = 1<<24 - 1, 1<<31 - 1
	place := int64(min(max(e.Run, 0), runs))<<3 | int64(e.State.Rank())
	place <<= 1
	if e.Final {
		place |= 1
	}
	place <<= 31
	switch {
	case e.State.Rank() == notify.StateRetrying.Rank():
		place |= int64(min(max(e.Step, 0), steps))
	case e.State == notify.StateBounced:
		place |= 1
	}
	return place
}
