package producer

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Receipts handles delivery receipts of providers. It may be called concurrently.
type Receipts interface {
	// Handle returns the result of the receipt in a request with that body, as one word, once the result is durable. Its errors are
	// [notify.ErrUnknownGateway], [notify.ErrForged], [notify.Faults] and [notify.ErrUnknownNotification]; a repetition of the request
	// helps after [notify.ErrEarly], [notify.ErrStatusUnavailable] and [notify.ErrBusUnavailable]. It ends with ctx.
	Handle(ctx context.Context, gateway string, r *http.Request, body []byte) (result string, err error)
}

// heard is the answer to a receipt that was taken.
type heard struct {
	Result string `json:"result" doc:"recorded: it is news; resolved: recorded, and the notification is not retried; kept: the attempt is not known yet; the receipt is stored and applied later; repeated, late or acknowledged: it is none."`
}

// maxReceipt is how large a receipt may be: those of providers have a few hundred bytes.
const maxReceipt = 64 << 10

// receipt takes a receipt. Whoever calls has no key: the signature, of which the gateway's own package knows, is the authority.
func (s *Server) receipt(x *exchange) error {
	if s.cfg.Receipts == nil {
		return unheard(notify.ErrUnknownGateway)
	}
	body, err := s.signedBody(x, "a receipt")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), s.cfg.Timeouts.Dispatch)
	defer cancel()
	gateway := chi.URLParam(x.r, "gateway")
	result, err := s.cfg.Receipts.Handle(ctx, gateway, x.r, body)
	if err != nil {
		return unheard(err)
	}
	x.log(zap.String("gateway", gateway), zap.String("result", result))
	return x.json(http.StatusOK, heard{result})
}

// signedBody reads the body of what, whatever its type: providers that send forms can send nothing else.
func (s *Server) signedBody(x *exchange, what string) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, maxReceipt))
	var exceeded *http.MaxBytesError
	switch {
	case err == nil:
		return body, nil
	case errors.As(err, &exceeded):
		return nil, refuse(codeTooLarge, "keep "+what+" within "+strconv.Itoa(maxReceipt)+" bytes")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, refuse(codeTimeout, "send the whole request within "+s.cfg.Timeouts.Read.String()).with("Connection", "close")
	default:
		return nil, refuse(codeMalformed, "send the whole body: it ended early").because(err)
	}
}

// unheard is the problem of a receipt that changed nothing. What is forged and what is unknown is told apart by the status alone.
func unheard(err error) error {
	var faults notify.Faults
	switch {
	case errors.Is(err, notify.ErrUnknownGateway):
		return refuse(codeNotFound, "no gateway of this name takes receipts: see receipts of its section, and api.public_url")
	case errors.Is(err, notify.ErrForged):
		return refuse(codeForbidden, "sign the receipt by the gateway's own secret, as it is sent and for the address in api.public_url, within the last five minutes").because(err)
	case errors.As(err, &faults):
		p := refuse(codeInvalidReceipt, "mend the fields named in errors")
		p.Errors = faults
		return p
	case errors.Is(err, notify.ErrUnknownNotification):
		return refuse(codeNotFound, "there is no message of this gateway to which the receipt belongs")
	case errors.Is(err, notify.ErrEarly):
		return refuse(codeNotSentYet, "say it again after a while").with("Retry-After", "5").because(err)
	case errors.Is(err, notify.ErrBusUnavailable):
		return refuse(codeBusUnavailable, "say it again after a while: Kafka did not confirm it in time").with("Retry-After", "5").because(err)
	case errors.Is(err, notify.ErrStatusUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return refuse(codeStatusUnavailable, "say it again after a while: the status store cannot answer, or has not read far enough to").
			with("Retry-After", "5").because(err)
	default:
		return err
	}
}

func describeReceipt(schemas huma.Registry) *huma.Operation {
	whole := &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeObject}}
	op := &huma.Operation{
		Method: http.MethodPost, Path: "/v1/receipts/{gateway}", OperationID: "receipt", Summary: "Say what became of a message",
		Tags: []string{"receipts"}, Security: []map[string][]string{{}},
		Description: "For providers, which sign what they say: Twilio in its own way, for others see docs/receipts.md. Needs no key. " +
			"Saying it twice changes nothing; after a 503 it is to be said again.",
		Parameters: []*huma.Param{{
			Name: "gateway", In: "path", Required: true, Description: "The name of the gateway that sent the message.", Schema: &huma.Schema{Type: huma.TypeString},
		}},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/json": {Schema: ref("Receipt")}, "application/x-www-form-urlencoded": whole,
		}},
		Responses: map[string]*huma.Response{"200": {
			Description: "It was taken.", Content: content[heard](schemas, "Heard"),
		}},
	}
	refusals(schemas, op, 400, 403, 404, 408, 413, 422, 500, 503)
	op.Responses["503"].Headers = map[string]*huma.Param{"Retry-After": textHeader("Seconds after which repeating makes sense.")}
	return op
}

// receiptSchema is the schema of a receipt for a gateway of type http.
func receiptSchema() *huma.Schema {
	text := func(doc string) *huma.Schema { return &huma.Schema{Type: huma.TypeString, Description: doc} }
	return &huma.Schema{
		Type: huma.TypeObject, Required: []string{"state"}, AdditionalProperties: false,
		Description: "What became of a message of a gateway of type http. One of notification_id and provider_id is needed.",
		Properties: map[string]*huma.Schema{
			"notification_id": {Type: huma.TypeString, Format: "uuid", Description: "The id with which the notification was accepted."},
			"provider_id":     text("The id that the answer to the send had."),
			"state":           {Type: huma.TypeString, Enum: []any{string(notify.StateDelivered), string(notify.StateBounced)}},
			"code":            text("The provider's code for why it bounced."),
			"reason":          text("Why it bounced, in words."),
			"sender":          text("Of a text whose recipient has opted out: its sender, if the message named one; else that of the message as it is kept, or of the gateway."),
			"at":              {Type: huma.TypeString, Format: "date-time", Description: "When that was."},
		},
	}
}
