package notify

import "errors"

// Inbound is a text message that somebody has sent to one of our senders, as its provider brings it.
type Inbound struct {
	ProviderID string   // the provider's name for the message
	From       string   // as the provider writes it
	Address    string   // From as texts to it name it, an E.164 number; empty where no text can go to it
	To         string   // the number that it was sent to
	Senders    []string // the senders of the gateway that it was sent to, as texts from them name it: a number, a messaging service, or both
	Keyword    Keyword  // what the provider takes the message for; empty: the text decides
	Text       string
}

// Keyword is what a message that is one word asks for.
type Keyword string

// The keywords.
const (
	KeywordStop  Keyword = "stop"  // no more texts of this sender
	KeywordStart Keyword = "start" // takes stop back
	KeywordHelp  Keyword = "help"
)

// ErrForeignSender: a message that was sent to a number which is no sender of the gateway.
var ErrForeignSender = errors.New("the message was sent to none of the gateway's senders")

// InboundTaken is what became of a message that was taken, in one word, and what its provider is answered.
type InboundTaken struct {
	Result      string
	ContentType string
	Answer      []byte
}

// EventInbound is what an event with [NoteInbound] says of the message.
type EventInbound struct {
	From    string  `json:"from,omitempty"` // masked, unless the configuration says otherwise
	To      string  `json:"to,omitempty"`
	Keyword Keyword `json:"keyword,omitempty"`
	Text    string  `json:"text,omitempty"` // only where the configuration says so
}

// Bounds of what an event says of a message. A text has 1,600 UTF-16 units at most.
const (
	inboundNumber = 64
	inboundText   = 5000
)

// Bound makes all texts short enough for every reader.
func (in *EventInbound) Bound() {
	in.From, in.To = Clip(in.From, inboundNumber), Clip(in.To, inboundNumber)
	in.Keyword = Keyword(Clip(string(in.Keyword), inboundNumber))
	in.Text = Clip(in.Text, inboundText)
}

// Strip returns a copy without personal data: only To and Keyword. Strip of nil is nil.
func (in *EventInbound) Strip() *EventInbound {
	if in == nil {
		return nil
	}
	return &EventInbound{To: in.To, Keyword: in.Keyword}
}

func appendInbound(b []byte, in *EventInbound) []byte {
	b = append(b, `,"inbound":{`...)
	start := len(b)
	for _, f := range [4][2]string{{"from", in.From}, {"to", in.To}, {"keyword", string(in.Keyword)}, {"text", in.Text}} {
		b = appendUnlessEmpty(b, f[0], f[1])
	}
	if len(b) > start { // without the comma before the first field
		b = append(b[:start], b[start+1:]...)
	}
	return append(b, '}')
}
