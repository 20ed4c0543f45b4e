package producer

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// description is the API's OpenAPI document and those of its operations that have a handler of ours.
type description struct {
	document *huma.OpenAPI

	accept, acceptBatch, cancel, listLives, getLife, stream, listLetters, redrive, expunge, stats, listOutbox, getOutbox, receipt, inbound, openAPI *huma.Operation
}

// OpenAPI is the API's description, OpenAPI 3.1 as indented JSON.
func OpenAPI() []byte {
	flat, err := json.Marshal(describe().document)
	if err != nil {
		panic(err) // a constant of ours, and a test reads it
	}
	var tree any // once more, since huma writes < as an escape
	_ = json.Unmarshal(flat, &tree)
	var indented bytes.Buffer
	e := json.NewEncoder(&indented)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	_ = e.Encode(tree)
	return indented.Bytes()
}

func (s *Server) openAPI(x *exchange) error {
	x.bytes(http.StatusOK, "application/json", s.spec)
	return nil
}

func describe() description {
	schemas := newSchemas()
	d := description{
		document: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "Laudspeaker", Version: "1",
				Description: "Has e-mails, text messages and pushes delivered. A 202 means that the notification is durable; its delivery follows.\n\n" +
					"Clients ignore fields, codes and states of answers that they do not know.",
				License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
			},
			Components: &huma.Components{
				Schemas: schemas,
				SecuritySchemes: map[string]*huma.SecurityScheme{"key": {
					Type: "http", Scheme: "bearer",
					Description: "An API key, ls_<id>_<secret>. A server without keys serves its own host only and needs none.",
				}},
			},
		},
		accept:      describeAccept(schemas),
		acceptBatch: describeAcceptBatch(schemas),
		cancel:      describeCancel(schemas),
		listLives:   describeListLives(schemas),
		getLife:     describeGetLife(schemas),
		stream:      describeStream(schemas),
		listLetters: describeListLetters(schemas),
		redrive:     describeRedrive(schemas),
		stats:       describeStats(schemas),
		listOutbox:  describeListOutbox(schemas),
		getOutbox:   describeGetOutbox(schemas),
		receipt:     describeReceipt(schemas),
		inbound:     describeInbound(schemas),
		expunge:     describeExpunge(schemas),
		openAPI: &huma.Operation{
			Method: http.MethodGet, Path: "/openapi.json", OperationID: "openapi", Summary: "This document", Tags: []string{"server"},
			Responses: map[string]*huma.Response{"200": {
				Description: "OpenAPI 3.1.", Content: map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Type: huma.TypeObject}}},
			}},
		},
	}
	for _, op := range []*huma.Operation{d.accept, d.acceptBatch, d.cancel, d.listLives, d.getLife, d.stream, d.listLetters, d.redrive, d.expunge, d.stats, d.listOutbox, d.getOutbox, d.receipt, d.inbound, d.openAPI} {
		d.document.AddOperation(op)
	}
	for _, op := range describePages() {
		d.document.AddOperation(op)
	}
	return d
}

func describeAccept(schemas huma.Registry) *huma.Operation {
	op := &huma.Operation{
		Method: http.MethodPost, Path: "/v1/notifications", OperationID: "send", Summary: "Have a notification delivered",
		Tags: []string{"notifications"}, Security: keyed(),
		Description: "Needs scope send. All faults of a notification are named at once.\n\n" +
			"With an Idempotency-Key a request may be repeated, for 24 hours, and is accepted once: a repetition gets the first answer again. " +
			"The key stands for one notification of the tenant, whatever its JSON looks like: with another one it is refused (422), " +
			"and while the first request is under way, too (409). What was refused with 413 or 422 leaves the key free.",
		Parameters: []*huma.Param{{
			Name: "Idempotency-Key", In: "header", Description: "Any name for this request, such as a UUID.", Schema: idempotencyKeySchema(),
		}},
		RequestBody: &huma.RequestBody{
			Required: true,
			Content:  map[string]*huma.MediaType{"application/json": {Schema: ref("Notification"), Examples: examples()}},
		},
		Responses: map[string]*huma.Response{"202": {
			Description: "The notification is durable.",
			Headers: map[string]*huma.Param{
				"Location":             textHeader("Where the notification's state can be read."),
				"Idempotency-Replayed": textHeader("true: an earlier request with this Idempotency-Key has been answered so."),
			},
			Content: content[accepted](schemas, "Accepted"),
		}},
	}
	refusals(schemas, op, 400, 401, 403, 408, 409, 413, 415, 422, 429, 500, 503)
	return op
}

func describeCancel(schemas huma.Registry) *huma.Operation {
	op := &huma.Operation{
		Method: http.MethodPost, Path: "/v1/notifications/{id}/cancel", OperationID: "cancel", Summary: "Keep a notification from being sent",
		Tags: []string{"notifications"}, Security: keyed(),
		Description: "Needs scope send. No attempt starts after effective_at, which is one second after the cancellation became durable. " +
			"What was sent before stays sent, and an attempt under way ends as it would have. " +
			"Whether there is such a notification is not looked up; cancelling twice is no fault.",
		Parameters: []*huma.Param{idParameter()},
		Responses: map[string]*huma.Response{"200": {
			Description: "The cancellation is durable.", Content: content[cancelled](schemas, "Cancelled"),
		}},
	}
	refusals(schemas, op, 401, 403, 404, 422, 500, 503)
	return op
}

func idParameter() *huma.Param {
	return &huma.Param{
		Name: "id", In: "path", Required: true, Description: "The notification's id.", Schema: &huma.Schema{Type: huma.TypeString, Format: "uuid"},
	}
}

func describeListOutbox(schemas huma.Registry) *huma.Operation {
	op := &huma.Operation{
		Method: http.MethodGet, Path: "/v1/outbox", OperationID: "list-outbox", Summary: "What was captured instead of sent, latest first",
		Tags: []string{"outbox"}, Security: keyed(), Description: "Needs scope read.",
		Parameters: []*huma.Param{numberParameter("limit", "How many at most.", 1, maxLimit, defaultLimit)},
		Responses: map[string]*huma.Response{"200": {
			Description: "The messages, without their content.", Content: content[page[notify.Captured]](schemas, "CapturedPage"),
		}},
	}
	refusals(schemas, op, 401, 403, 404, 422, 500)
	return op
}

func describeGetOutbox(schemas huma.Registry) *huma.Operation {
	op := &huma.Operation{
		Method: http.MethodGet, Path: "/v1/outbox/{id}", OperationID: "get-outbox", Summary: "One captured message with its content",
		Tags: []string{"outbox"}, Security: keyed(), Description: "Needs scope read.",
		Parameters: []*huma.Param{idParameter()},
		Responses:  map[string]*huma.Response{"200": {Description: "The message.", Content: content[notify.Captured](schemas, "Captured")}},
	}
	refusals(schemas, op, 401, 403, 404, 500)
	return op
}

// describePages describes what others serve here.
func describePages() []*huma.Operation {
	op := func(path, id, summary string, answers map[string]*huma.Response) *huma.Operation {
		return &huma.Operation{Method: http.MethodGet, Path: path, OperationID: id, Summary: summary, Tags: []string{"server"}, Responses: answers}
	}
	ok := &huma.Response{Description: "Yes."}
	return []*huma.Operation{
		op("/livez", "livez", "Whether the process is alive", map[string]*huma.Response{"200": ok}),
		op("/readyz", "readyz", "Whether it can do its work", map[string]*huma.Response{"200": ok, "503": {Description: "Not now."}}),
		op("/metrics", "metrics", "Metrics in Prometheus' format", map[string]*huma.Response{"200": {Description: "The metrics."}}),
	}
}

// keyed is the security of an operation that needs a key, if the server has any.
func keyed() []map[string][]string { return []map[string][]string{{"key": {}}, {}} }

func textHeader(description string) *huma.Param {
	return &huma.Param{Description: description, Schema: &huma.Schema{Type: huma.TypeString}}
}

func refusals(schemas huma.Registry, op *huma.Operation, statuses ...int) {
	for _, status := range statuses {
		codes := ""
		for _, c := range codesOf(status) {
			codes += " " + string(c)
		}
		op.Responses[strconv.Itoa(status)] = &huma.Response{
			Description: http.StatusText(status) + ":" + codes + ".",
			Content:     map[string]*huma.MediaType{"application/problem+json": {Schema: ref("Problem")}},
		}
		switch status {
		case http.StatusConflict, http.StatusTooManyRequests, http.StatusServiceUnavailable:
			op.Responses[strconv.Itoa(status)].Headers = map[string]*huma.Param{"Retry-After": textHeader("Seconds after which repeating makes sense.")}
		}
	}
}
