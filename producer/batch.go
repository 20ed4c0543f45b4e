package producer

import (
	"net/http"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

// batchFactor is how many times the largest body of one notification a batch's may be.
const batchFactor = 4

// results is the answer to a batch.
type results struct {
	Results []result `json:"results" nullable:"false" doc:"What became of each notification, in their order."`
}

// result is what one notification of a batch would have been answered by itself.
type result struct {
	Status int `json:"status" doc:"As of a request of its own: 202 for one that is durable."`
	*accepted
	Duplicate bool     `json:"duplicate,omitempty" doc:"The answer is that of an earlier notification with the same idempotency key."`
	Problem   *problem `json:"problem,omitempty" doc:"Why it was not accepted."`
}

// acceptBatch makes each notification of the body a job by itself: none is refused for another's sake.
func (s *Server) acceptBatch(x *exchange) error {
	if len(x.r.Header.Values("Idempotency-Key")) > 0 {
		return refuse(codeInvalidParameter, "leave the header Idempotency-Key out, and give each notification an idempotency_key of its own")
	}
	most := s.maxBody.Load()
	raw, err := s.body(x, batchFactor*most)
	if err != nil {
		return err
	}
	raws, faults := validate.Batch(raw)
	if faults.Has(validate.Malformed) {
		return refuse(codeMalformed, faults[0].Detail)
	}
	if len(faults) > 0 {
		return refuse(codeInvalid, "mend the fields named in errors; nothing of the batch was accepted").about(faults)
	}
	items := make([]*item, len(raws))
	for i, raw := range raws {
		items[i] = readItem(raw, most)
	}
	s.submit(x, items)
	answer := results{Results: make([]result, len(items))}
	durable := 0
	for i, it := range items {
		answer.Results[i] = x.result(i, it)
		if it.answer != nil {
			durable++
		}
	}
	x.log(zap.Int("notifications", len(items)), zap.Int("accepted", durable))
	return x.json(http.StatusOK, answer)
}

// readItem gives an item that has failed already if raw is not a sound notification.
func readItem(raw []byte, most int64) *item {
	if int64(len(raw)) > most {
		return &item{failure: refuse(codeTooLarge, "keep the notification within "+strconv.FormatInt(most, 10)+" bytes")}
	}
	n, key, faults := validate.DecodeItem(raw)
	return &item{n: n, key: key, failure: understood(n, faults, key != "")}
}

// result is the answer to the item at index i of a batch.
func (x *exchange) result(i int, it *item) result {
	if it.failure == nil {
		return result{Status: http.StatusAccepted, accepted: it.answer, Duplicate: it.repeated}
	}
	p := x.problemOf(it.failure)
	p.Errors = within("#/notifications/"+strconv.Itoa(i), p.Errors)
	return result{Status: p.Status, Problem: p}
}

// within gives faults of a part of the body the pointers that they have in the whole of it.
func within(at string, faults notify.Faults) notify.Faults {
	var all notify.Faults
	for _, f := range faults {
		f.Pointer = at + strings.TrimPrefix(f.Pointer, "#")
		all = append(all, f)
	}
	return all
}
