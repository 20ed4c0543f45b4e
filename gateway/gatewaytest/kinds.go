package gatewaytest

// Kind is one behaviour that a gateway's tests must show.
type Kind string

// The kinds. A [Case] shows a reply, a [Step] shows a lost or silent connection, and Run itself shows the others.
const (
	Accepted    Kind = "accepted"           // a receipt with the provider's id, delivered once
	Permanent   Kind = "reply: permanent"   // about the message
	Gone        Kind = "reply: gone"        // permanent and about the recipient
	Transient   Kind = "reply: transient"   //
	Throttled   Kind = "reply: throttled"   //
	Unavailable Kind = "reply: unavailable" // with a remedy
	Garbled     Kind = "reply: garbled"     // an answer that the provider's documents do not know, by Case.Kind
	Partial     Kind = "reply: partial"     // some parts or recipients accepted and the rest refused, by Case.Kind; never "sent"

	Elsewhere Kind = "reply: permanent at this gateway only"         // the next gateway of the route may take the message
	Crowded   Kind = "reply: throttled for too many calls at once"   // fewer calls help, not a slower pace
	Paused    Kind = "reply: unavailable until a quota is available" // with the time of the next probe

	// Only for gateways that send text messages: the requirements of opt-outs.
	OptedOut   Kind = "reply: opted out" // gone, with the reason opted_out: of the sender that Originator names
	Originated Kind = "sender of a text" // Originator names what the provider gets as the sender

	LossBefore   Kind = "connection lost before the message was written" // transient
	LossAfter    Kind = "connection lost after the message was written"  // ambiguous
	HangBefore   Kind = "timeout before the message was written"         // transient
	HangAfter    Kind = "timeout after the message was written"          // ambiguous
	CancelBefore Kind = "cancelled before the message was written"       // transient
	CancelAfter  Kind = "cancelled after the message was written"        // ambiguous

	Concurrent   Kind = "concurrent use"               // nothing lost, nothing twice
	Check        Kind = "check"                        // accepted, and sends nothing
	CheckRefused Kind = "check with wrong credentials" // unavailable with a remedy
	Recovery     Kind = "recovery"                     // credentials right again: delivers without a restart
	Close        Kind = "close"                        // no goroutine and no connection left
)

// textKinds are the kinds that only a suite with messages of channel sms covers or exempts.
func textKinds() []Kind { return []Kind{OptedOut, Originated} }

// Kinds returns every kind that a suite covers or exempts.
func Kinds() []Kind {
	return []Kind{
		Accepted, Permanent, Gone, Transient, Throttled, Unavailable, Garbled, Partial,
		Elsewhere, Crowded, Paused,
		LossBefore, LossAfter, HangBefore, HangAfter, CancelBefore, CancelAfter,
		Concurrent, Check, CheckRefused, Recovery, Close,
	}
}

// missing returns the kinds that s neither covers nor exempts, and the kinds that s exempts wrongly.
func (s Suite[F]) missing() []string {
	covered := s.covered()
	var faults []string
	kinds := Kinds()
	if s.texts() {
		kinds = append(kinds, textKinds()...)
	}
	for _, k := range kinds {
		switch reason, exempt := s.Exempt[k]; {
		case covered[k] && exempt:
			faults = append(faults, string(k)+": covered, so it needs no exemption")
		case !covered[k] && exempt && reason == "":
			faults = append(faults, string(k)+": exempt without a reason")
		case !covered[k] && !exempt:
			faults = append(faults, string(k)+": neither covered nor exempt")
		}
	}
	return faults
}

func (s Suite[F]) covered() map[Kind]bool {
	c := map[Kind]bool{Accepted: true, Concurrent: true, Check: true, Close: true}
	c[Originated] = s.Origins != nil
	c[CheckRefused], c[Recovery] = s.Refuse != nil, s.Refuse != nil
	for _, r := range s.Replies {
		c[r.kind()] = true
	}
	for _, st := range s.Steps {
		loss := LossBefore
		hang := HangBefore
		cancel := CancelBefore
		if st.Written {
			loss = LossAfter
			hang = HangAfter
			cancel = CancelAfter
		}
		c[loss] = c[loss] || st.Lose != nil
		c[hang], c[cancel] = c[hang] || st.Hang != nil, c[cancel] || st.Hang != nil
	}
	return c
}
