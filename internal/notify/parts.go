package notify

import (
	"context"
	"regexp"
	"slices"
	"strings"
)

// How a relay's refusal of some recipients of an e-mail counts.
const (
	PartialReject  = "reject"  // a refused recipient stops the mail for all (the default)
	PartialDeliver = "deliver" // the others get the mail
)

// Part is what became of one recipient of an e-mail.
type Part struct {
	Field string `json:"field"` // the first field that names the address: recipient, cc[1], bcc[0]
	State State  `json:"state"` // sent or rejected; in an event also the event's own, of recipients without a result
	Code  string `json:"code,omitempty"`
}

// Parts is how far the delivery of an e-mail to its recipients has come. The gateway that is called changes it; one goroutine at a
// time uses it.
type Parts struct {
	Partial bool   // the e-mail asks for [PartialDeliver]
	Done    []Part // recipients that have a result; nothing is sent to them any more
	Waiting []Part // recipients that were refused for now in the last call
	Fields  []string
	// Record makes Done durable before another transaction begins, so that a crash repeats that transaction only. After an error no
	// transaction may begin. Nil makes nothing durable.
	Record func(ctx context.Context) error
}

// Apart reports whether a refused recipient does not stop the others: it must not, or it cannot any more.
func (p *Parts) Apart() bool { return p != nil && (p.Partial || len(p.Done) > 0) }

// Has reports whether the recipient has a result.
func (p *Parts) Has(field string) bool {
	return slices.ContainsFunc(p.Done, func(d Part) bool { return d.Field == field })
}

// Finish notes results.
func (p *Parts) Finish(state State, code string, fields ...string) {
	for _, f := range fields {
		if !p.Has(f) {
			p.Done = append(p.Done, Part{f, state, code})
		}
	}
}

// Sent reports whether a recipient has got the mail.
func (p *Parts) Sent() bool {
	return p != nil && slices.ContainsFunc(p.Done, func(d Part) bool { return d.State == StateSent })
}

// List gives all recipients that are known, in the order of the e-mail. Those without a result have no state.
func (p *Parts) List() (all []Part) {
	if !p.Apart() {
		return nil
	}
	parts := map[string]Part{} // of several for a recipient, the last one counts
	for _, known := range slices.Concat(p.Waiting, p.Done) {
		parts[known.Field] = known
	}
	fields := slices.Clone(p.Fields)
	for _, d := range p.Done {
		fields = append(fields, d.Field)
	}
	listed := map[string]bool{}
	for _, field := range fields {
		if listed[field] {
			continue
		}
		listed[field] = true
		part, known := parts[field]
		if !known {
			part.Field = field
		}
		all = append(all, part)
	}
	return all
}

// maxParts bounds what is read of a header.
const maxParts = 64

// String is Done for [HeaderRecipients]; empty when there is none.
func (p *Parts) String() string {
	if p == nil {
		return ""
	}
	texts := make([]string, 0, len(p.Done))
	for _, d := range p.Done[:min(len(p.Done), maxParts)] {
		text := d.Field + "=" + string(d.State)
		if d.Code != "" {
			text += " " + strings.ReplaceAll(Clip(d.Code, 20), ";", " ")
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ";")
}

var partText = regexp.MustCompile(`^((?:recipient|(?:to|cc|bcc)\[[0-9]{1,2}\]))=(sent|rejected)(?: ([ -:<-~]{1,20}))?$`)

// ParseParts reads what String writes. What it does not understand is left out: these recipients have no result.
func ParseParts(s string) (done []Part) {
	for text := range strings.SplitSeq(s, ";") {
		if m := partText.FindStringSubmatch(text); m != nil && len(done) < maxParts {
			done = append(done, Part{Field: m[1], State: State(m[2]), Code: m[3]})
		}
	}
	return done
}
