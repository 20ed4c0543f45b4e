package producer

import (
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Drains knows how fast the lanes empty. It answers at once, from what was measured last, and may be called from many
// goroutines.
type Drains interface {
	// Of gives the drain of a lane of a channel; ok is false while it is not known.
	Of(ch notify.Channel, lane notify.Lane) (d notify.Drain, ok bool)
	// Stats gives all figures, in slices that the caller may change. It leaves out for which gateways lanes wait.
	Stats() notify.Stats
}

// stats is the answer to those who ask how it goes.
type stats struct {
	Channels   []notify.ChannelStats  `json:"channels" nullable:"true" doc:"null: nothing is known now"`
	Totals     totals                 `json:"totals"`
	Gateways   []notify.GatewayStatus `json:"gateways" nullable:"false" doc:"The gateways that some worker process cannot call now, or that an operator has paused. Empty: none is known."`
	MeasuredAt *time.Time             `json:"measured_at" nullable:"true" doc:"When the backlog was measured last; null: not yet"`
	AgeSeconds *float64               `json:"age_seconds" nullable:"true" doc:"How long ago that is. The figures are renewed every two seconds, while Kafka answers; after thirty they mean nothing and are left out."`
}

// totals are those of all channels; null is what is not known now.
type totals struct {
	Backlog *int64   `json:"backlog" nullable:"true" doc:"Jobs on the lanes that are not done."`
	Rate    *float64 `json:"rate" nullable:"true" doc:"Jobs done a second."`
	Waiting *int64   `json:"waiting" nullable:"true" doc:"Jobs that wait to be tried again or to become due."`
}

func (s *Server) stats(x *exchange) error {
	if x.r.URL.RawQuery != "" {
		return refuse(codeInvalidParameter, "give no parameter: there is nothing to choose")
	}
	known := s.cfg.Drains.Stats()
	answer := stats{Gateways: []notify.GatewayStatus{}}
	if s.cfg.Waits != nil {
		answer.Gateways = s.cfg.Waits.Gateways()
		s.cfg.Waits.MarkLanes(known.Channels)
	}
	if !known.At.IsZero() {
		at, age := known.At.UTC().Truncate(time.Millisecond), time.Since(known.At).Round(100*time.Millisecond).Seconds()
		answer.MeasuredAt, answer.AgeSeconds = &at, &age
	}
	if !known.Stale {
		answer.Channels, answer.Totals = known.Channels, totals{&known.Backlog, &known.Rate, &known.Waiting}
	}
	return x.json(http.StatusOK, answer)
}

// drainOf is what the answer to an accepted notification says of its lane; nil while that is not known.
func (s *Server) drainOf(job *notify.Notification) *notify.Drain {
	if s.cfg.Drains == nil {
		return nil
	}
	if d, ok := s.cfg.Drains.Of(job.Channel, job.Lane); ok {
		return &d
	}
	return nil
}

func describeStats(schemas huma.Registry) *huma.Operation {
	op := &huma.Operation{
		Method: http.MethodGet, Path: "/v1/stats", OperationID: "stats", Summary: "How much waits, and how fast it drains",
		Tags: []string{"server"}, Security: keyed(),
		Description: "Needs scope read. By channel and lane what waits, how fast it is done and how long that takes; by channel what waits on the delay ladder; which gateways refuse calls, and which lanes wait for them. " +
			"Beyond api.shed_bulk_after bulk is refused with 429.",
		Responses: map[string]*huma.Response{"200": {Description: "The figures.", Content: content[stats](schemas, "Stats")}},
	}
	refusals(schemas, op, 401, 403, 422, 500)
	return op
}
