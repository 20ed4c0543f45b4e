package producer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

// Expunger removes what the status store knows of people. It may be called at once from many goroutines.
type Expunger interface {
	// Expunge takes recipient, reference, metadata and payload from the notifications that are chosen, for good, and gives
	// how many had them. It ends with ctx: what was done by then is done and counted, and the error says that not all is.
	Expunge(ctx context.Context, which notify.Expunge) (n int, err error)
}

// mostExpunged is how many ids one request may name.
const mostExpunged = 1000

// choice is the body of a request to expunge: exactly one of its members.
type choice struct {
	IDs    []string   `json:"ids,omitempty" minItems:"1" maxItems:"1000" doc:"Those with these ids."`
	Tenant *string    `json:"tenant,omitempty" pattern:"^[A-Za-z0-9._-]{1,64}$" doc:"All of this tenant."`
	Before *time.Time `json:"before,omitempty" doc:"All that were accepted before that time."`
}

// expunged is the answer.
type expunged struct {
	Expunged int  `json:"expunged" doc:"How many notifications had something to remove, and no longer have."`
	Complete bool `json:"complete" doc:"false: there are more than fit into one request; repeat it."`
}

// expunge answers once it is durable. What takes longer than a request is done in several.
func (s *Server) expunge(x *exchange) error {
	if x.r.URL.RawQuery != "" {
		return refuse(codeInvalidParameter, "give no parameter: the body says what to expunge")
	}
	if err := onlyJSON(x.r.Header); err != nil {
		return err
	}
	raw, err := s.body(x, s.maxBody.Load())
	if err != nil {
		return err
	}
	which, err := readChoice(raw, time.Now())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), s.cfg.Timeouts.Expunge)
	defer cancel()
	n, err := s.cfg.Expunger.Expunge(ctx, which)
	if n > 0 { // also when it was cut short
		x.log(zap.Int("expunged", n))
	}
	if err != nil && (n == 0 || ctx.Err() == nil) {
		return unread(err)
	}
	return x.json(http.StatusOK, expunged{Expunged: n, Complete: err == nil})
}

// readChoice reads the body. Nothing of it is repeated in what it refuses.
func readChoice(raw []byte, now time.Time) (which notify.Expunge, err error) {
	if !json.Valid(raw) {
		return which, refuse(codeMalformed, "send one JSON object such as {\"ids\":[\"…\"]}")
	}
	var c choice
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if d.Decode(&c) != nil || !errors.Is(d.Decode(new(any)), io.EOF) {
		return which, refuse(codeInvalidParameter, "give an object with one of ids (an array of UUIDs), tenant (a string) and before (a time by RFC 3339), and nothing else")
	}
	given := 0
	if c.IDs != nil {
		given++
		if which.IDs, err = idsOf(c.IDs); err != nil {
			return which, err
		}
	}
	if c.Tenant != nil {
		given++
		if which.Tenant = *c.Tenant; !validate.IsTenant(*c.Tenant) {
			return which, refuse(codeInvalidParameter, "tenant: give 1 to 64 letters, digits, dots, hyphens or underscores")
		}
	}
	if c.Before != nil {
		given++
		if which.Before = c.Before.UTC(); c.Before.After(now) {
			return which, refuse(codeInvalidParameter, "before: give a time in the past")
		}
	}
	if given != 1 {
		return which, refuse(codeInvalidParameter, "give exactly one of ids, tenant and before")
	}
	return which, nil
}

func idsOf(given []string) ([]string, error) {
	if len(given) == 0 || len(given) > mostExpunged {
		return nil, refuse(codeInvalidParameter, "ids: give 1 to "+strconv.Itoa(mostExpunged)+" of them")
	}
	ids := make([]string, len(given))
	for i, text := range given {
		id, ok := notify.ParseID(text)
		if !ok {
			return nil, refuse(codeInvalidParameter, "ids: give the UUIDs with which the notifications were accepted; number "+strconv.Itoa(i+1)+" is none")
		}
		ids[i] = id
	}
	return ids, nil
}
