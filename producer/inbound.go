package producer

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Inbound takes the texts that people send to our senders. It may be called at once from many goroutines.
type Inbound interface {
	// Take returns what became of the text in a request with that body, once that is durable. Its errors:
	// [notify.ErrUnknownGateway], [notify.ErrForged], [notify.ErrForeignSender], [notify.Faults], and where bringing it again helps
	// [notify.ErrStatusUnavailable] and [notify.ErrBusUnavailable]. It ends with ctx.
	Take(ctx context.Context, gateway string, r *http.Request, body []byte) (notify.InboundTaken, error)
}

// inbound takes a text. Whoever calls has no key, as with receipts.
func (s *Server) inbound(x *exchange) error {
	if s.cfg.Inbound == nil {
		return untaken(notify.ErrUnknownGateway)
	}
	body, err := s.signedBody(x, "a message")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), s.cfg.Timeouts.Dispatch)
	defer cancel()
	gateway := chi.URLParam(x.r, "gateway")
	taken, err := s.cfg.Inbound.Take(ctx, gateway, x.r, body)
	if err != nil {
		return untaken(err)
	}
	x.log(zap.String("gateway", gateway), zap.String("result", taken.Result))
	x.bytes(http.StatusOK, taken.ContentType, taken.Answer)
	return nil
}

// untaken is the problem of a text that changed nothing.
func untaken(err error) error {
	const again = "send the request again later: "
	var faults notify.Faults
	switch {
	case errors.Is(err, notify.ErrUnknownGateway):
		return refuse(codeNotFound, "no gateway of this name takes texts: see docs/opt-outs.md, and api.public_url")
	case errors.Is(err, notify.ErrForged):
		return refuse(codeForbidden, "sign the message by the token of the gateway's account, for the address in api.public_url").because(err)
	case errors.Is(err, notify.ErrForeignSender):
		return refuse(codeNotFound, "the message was sent to none of the gateway's senders: set from, messaging_service_sid or senders of its section")
	case errors.As(err, &faults):
		p := refuse(codeInvalidInbound, "mend the fields named in errors")
		p.Errors = faults
		return p
	case errors.Is(err, notify.ErrBusUnavailable):
		return refuse(codeBusUnavailable, again+"Kafka did not confirm it in time").with("Retry-After", "5").because(err)
	case errors.Is(err, notify.ErrStatusUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return refuse(codeStatusUnavailable, again+"the status store or the control topic cannot be asked now").with("Retry-After", "5").because(err)
	default:
		return err
	}
}

func describeInbound(schemas huma.Registry) *huma.Operation {
	op := &huma.Operation{
		Method: http.MethodPost, Path: "/v1/inbound/{gateway}", OperationID: "inbound", Summary: "Bring a text that somebody has sent to us",
		Tags: []string{"receipts"}, Security: []map[string][]string{{}},
		Description: "For Twilio, which signs what it brings: see docs/opt-outs.md. Needs no key. STOP and START change the opt-outs of the sender, and " +
			"every text becomes an event with the note inbound. Bringing it twice changes nothing; after a 503 it is to be brought again.",
		Parameters: []*huma.Param{{
			Name: "gateway", In: "path", Required: true, Description: "The name of the gateway whose sender the text was sent to.", Schema: &huma.Schema{Type: huma.TypeString},
		}},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/x-www-form-urlencoded": {Schema: &huma.Schema{Type: huma.TypeObject}},
		}},
		Responses: map[string]*huma.Response{"200": {
			Description: "It was taken. The body is what the provider expects: empty TwiML.",
			Content:     map[string]*huma.MediaType{"text/xml": {Schema: &huma.Schema{Type: huma.TypeString}}},
		}},
	}
	refusals(schemas, op, 400, 403, 404, 408, 413, 422, 500, 503)
	op.Responses["503"].Headers = map[string]*huma.Param{"Retry-After": textHeader("Seconds after which repeating makes sense.")}
	return op
}
