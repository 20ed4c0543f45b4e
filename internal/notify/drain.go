package notify

import (
	"fmt"
	"time"
)

// Drain is how a lane of a channel empties, as it was measured last.
type Drain struct {
	Backlog       int64    `json:"backlog"`        // jobs that are not done, those in hand included
	Rate          float64  `json:"rate"`           // jobs done a second, over the last half minute or so
	OldestSeconds *float64 `json:"oldest_seconds"` // for how long the oldest of them has waited; null: none waits, or it is not known
	DrainSeconds  *float64 `json:"drain_seconds"`  // until the backlog is done, at the rate that the lane has while it has something to do; null: not known, or nothing is being done
}

// LaneDrain is the drain of a lane.
type LaneDrain struct {
	Lane     Lane `json:"lane"`
	Paused   bool `json:"paused"`
	Shedding bool `json:"shedding"` // new notifications of the lane are refused
	Drain
	Waiting *LaneWaiting `json:"waiting,omitempty"` // while no gateway can be called for jobs of the lane
}

// TierWait is how much waits on a step of the delay ladder.
type TierWait struct {
	Tier string `json:"tier"`
	Jobs int64  `json:"jobs"`
}

// ChannelStats are the figures of a channel.
type ChannelStats struct {
	Channel Channel     `json:"channel"`
	Lanes   []LaneDrain `json:"lanes"`
	Waiting []TierWait  `json:"waiting"`
}

// Stats are the figures of all channels.
type Stats struct {
	Channels []ChannelStats
	Backlog  int64     // of all lanes
	Rate     float64   // of all lanes
	Waiting  int64     // on all ladders
	At       time.Time // when it was measured; zero: not yet
	Stale    bool      // it was so long ago that the figures mean nothing any more
}

// Shedding refuses a notification so that those that are more urgent do not suffer. As an error of a dispatch it says that
// nothing was published.
type Shedding struct{ RetryAfter time.Duration }

func (s *Shedding) Error() string {
	return fmt.Sprintf("bulk is refused for now; again in %s", s.RetryAfter)
}
