package producer

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// code is a problem's name, of which callers' programs know the meaning.
type code string

const (
	codeMalformed            code = "malformed-json"
	codeUnauthorized         code = "unauthorized"
	codeForbidden            code = "forbidden"
	codeNotFound             code = "not-found"
	codeMethodNotAllowed     code = "method-not-allowed"
	codeTimeout              code = "request-timeout"
	codeIdempotencyInFlight  code = "idempotency-in-flight"
	codeIDConflict           code = "id-conflict"
	codeTooLarge             code = "too-large"
	codeUnsupportedMedia     code = "unsupported-media-type"
	codeInvalid              code = "invalid-notification"
	codeInvalidParameter     code = "invalid-parameter"
	codeChannelNotConfigured code = "channel-not-configured"
	codeNotSupportedYet      code = "not-supported-yet"
	codeIdempotencyMismatch  code = "idempotency-mismatch"
	codeInvalidReceipt       code = "invalid-receipt"
	codeInvalidInbound       code = "invalid-inbound"
	codeInternal             code = "internal"
	codeBusUnavailable       code = "bus-unavailable"
	codeShedding             code = "shedding"
	codeStatusUnavailable    code = "status-unavailable"
	codeNotSentYet           code = "not-sent-yet"
)

// problems is the one table from a code to what a caller sees.
var problems = map[code]struct {
	status int
	title  string
}{
	codeMalformed:            {http.StatusBadRequest, "The body is not one JSON object"},
	codeUnauthorized:         {http.StatusUnauthorized, "An API key is needed"},
	codeForbidden:            {http.StatusForbidden, "This caller may not do that"},
	codeNotFound:             {http.StatusNotFound, "There is nothing here"},
	codeMethodNotAllowed:     {http.StatusMethodNotAllowed, "Another method is needed"},
	codeTimeout:              {http.StatusRequestTimeout, "The request came too slowly"},
	codeIdempotencyInFlight:  {http.StatusConflict, "The same is being accepted just now"},
	codeIDConflict:           {http.StatusConflict, "The id belongs to another notification"},
	codeTooLarge:             {http.StatusRequestEntityTooLarge, "The notification is too large"},
	codeUnsupportedMedia:     {http.StatusUnsupportedMediaType, "Only JSON is read"},
	codeInvalid:              {http.StatusUnprocessableEntity, "The notification is not valid"},
	codeInvalidParameter:     {http.StatusUnprocessableEntity, "A parameter is not valid"},
	codeChannelNotConfigured: {http.StatusUnprocessableEntity, "The channel has no gateway"},
	codeNotSupportedYet:      {http.StatusUnprocessableEntity, "Something here is not supported yet"},
	codeIdempotencyMismatch:  {http.StatusUnprocessableEntity, "The idempotency key belongs to another notification"},
	codeInternal:             {http.StatusInternalServerError, "The server is at fault"},
	codeBusUnavailable:       {http.StatusServiceUnavailable, "Kafka does not take the notification now"},
	codeShedding:             {http.StatusTooManyRequests, "The server has as much of this to do as it can hold"},
	codeStatusUnavailable:    {http.StatusServiceUnavailable, "The status store cannot answer now"},
	codeInvalidReceipt:       {http.StatusUnprocessableEntity, "The receipt is not valid"},
	codeInvalidInbound:       {http.StatusUnprocessableEntity, "The incoming message is not valid"},
	codeNotSentYet:           {http.StatusServiceUnavailable, "The message is not known to be sent yet"},
}

// problem is an answer by RFC 9457. As an error it is what a handler returns.
type problem struct {
	Type      string        `json:"type" format:"uri" doc:"urn:laudspeaker:problem: and the code"`
	Code      code          `json:"code" doc:"the problem's name, for programs"`
	Title     string        `json:"title" doc:"what the code means, for people"`
	Status    int           `json:"status" doc:"the status of the answer"`
	Detail    string        `json:"detail" doc:"what to do"`
	RequestID string        `json:"request_id" doc:"the request's id, under which the server's log says more; also in X-Request-Id"`
	Errors    notify.Faults `json:"errors,omitempty" doc:"every fault of the notification that was found"`

	headers map[string]string
	cause   error // for the log alone
}

func (p *problem) Error() string { return string(p.Code) }

func (p *problem) Unwrap() error { return p.cause }

func refuse(c code, detail string) *problem {
	row := problems[c]
	return &problem{Type: "urn:laudspeaker:problem:" + string(c), Code: c, Title: row.title, Status: row.status, Detail: detail}
}

func (p *problem) with(header, value string) *problem {
	if p.headers == nil {
		p.headers = map[string]string{}
	}
	p.headers[header] = value
	return p
}

func (p *problem) because(err error) *problem {
	p.cause = err
	return p
}

func (p *problem) about(faults notify.Faults) *problem {
	p.Errors = faults
	return p
}

// invalid is the problem of a notification with faults.
func invalid(faults notify.Faults) *problem {
	p := refuse(codeInvalid, "mend the fields named in errors")
	if faults.Has(notify.FaultNotSupportedYet) {
		p = refuse(codeNotSupportedYet, "leave out the fields that errors names as not supported yet, and mend the others")
	}
	return p.about(faults)
}

// undispatched is the problem of a notification that the dispatcher did not take.
func undispatched(err error, n *notify.Notification) error {
	var faults notify.Faults
	var shed *notify.Shedding
	switch {
	case errors.As(err, &faults):
		return invalid(faults)
	case errors.As(err, &shed):
		wait := strconv.Itoa(max(1, int(shed.RetryAfter.Seconds())))
		return refuse(codeShedding, "repeat it after "+wait+" s: lane bulk of channel "+string(n.Channel)+" has as much to do as it may have (api.shed_bulk_after); other lanes are served").
			with("Retry-After", wait)
	case errors.Is(err, notify.ErrTooLarge):
		return refuse(codeTooLarge, "make it smaller: its topic does not take a record of this size").because(err)
	case errors.Is(err, notify.ErrChannelNotConfigured):
		return refuse(codeChannelNotConfigured, "configure a gateway for channel "+string(n.Channel)+", or use another channel")
	case busFailed(err):
		return refuse(codeBusUnavailable, "repeat it after a while: Kafka did not confirm it in time, and it may be delivered all the same").
			with("Retry-After", "5").because(err)
	default:
		return err
	}
}
