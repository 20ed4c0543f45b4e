package producer

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// describeChoice says of what may be expunged what a Go type cannot.
func describeChoice(s *huma.Schema) {
	one := 1
	s.MinProperties, s.MaxProperties = &one, &one
	s.Properties["ids"].Items.Format = "uuid"
}

func describeExpunge(schemas huma.Registry) *huma.Operation {
	op := &huma.Operation{
		Method: http.MethodPost, Path: "/v1/expunge", OperationID: "expunge", Summary: "Remove what people could be known by",
		Tags: []string{"notifications"}, Security: keyed(),
		Description: "Needs scope admin. Recipient, reference, metadata and payload of notifications leave the status store for good; what became of them stays. " +
			"Their ids are remembered, so that a store that is made anew does not bring it back. " +
			"What Kafka still holds of them stays there until its retention: jobs and events 14 days, dead letters 30 days.",
		RequestBody: &huma.RequestBody{Required: true, Content: content[choice](schemas, "Expunge")},
		Responses: map[string]*huma.Response{"200": {
			Description: "It is removed, or as much of it as one request can.", Content: content[expunged](schemas, "Expunged"),
		}},
	}
	refusals(schemas, op, 400, 401, 403, 408, 413, 415, 422, 500, 503)
	op.Responses["503"].Headers = map[string]*huma.Param{"Retry-After": textHeader("Seconds after which repeating makes sense.")}
	return op
}
