package producer

import (
	"maps"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/laudspeaker/laudspeaker/internal/validate"
)

func describeAcceptBatch(schemas huma.Registry) *huma.Operation {
	op := &huma.Operation{
		Method: http.MethodPost, Path: "/v1/notifications/batch", OperationID: "send-batch", Summary: "Have many notifications delivered",
		Tags: []string{"notifications"}, Security: keyed(),
		Description: "Needs scope send. Each is accepted or refused by itself, as by a request of its own; those of one ordering key are delivered in the order of the batch. " +
			"The body may be four times as large as that of one notification. Each may have an idempotency_key, which does what the header Idempotency-Key does.",
		RequestBody: &huma.RequestBody{
			Required: true,
			Content:  map[string]*huma.MediaType{"application/json": {Schema: ref("Batch"), Examples: batchExamples()}},
		},
		Responses: map[string]*huma.Response{"200": {
			Description: "What became of each: see its status.", Content: content[results](schemas, "BatchResults"),
		}},
	}
	refusals(schemas, op, 400, 401, 403, 408, 413, 415, 422, 500)
	return op
}

func idempotencyKeySchema() *huma.Schema {
	most, least := 255, 1
	return &huma.Schema{Type: huma.TypeString, MinLength: &least, MaxLength: &most, Pattern: "^[!-~]+$"}
}

// describeBatch describes what a batch and its answer have of a single notification and its answer.
func describeBatch(all map[string]*huma.Schema) {
	most, least := validate.MaxBatch, 1
	all["Batch"] = &huma.Schema{
		Type: huma.TypeObject, AdditionalProperties: false, Required: []string{"notifications"},
		Properties: map[string]*huma.Schema{"notifications": {
			Type: huma.TypeArray, MinItems: &least, MaxItems: &most, Items: ref("BatchNotification"),
		}},
	}
	item := *all["Notification"]
	item.Properties = maps.Clone(item.Properties)
	item.Properties["idempotency_key"] = idempotencyKeySchema()
	item.Properties["idempotency_key"].Description = "Does what the header Idempotency-Key does for a request."
	all["BatchNotification"] = &item
	maps.Copy(all["BatchResult"].Properties, all["Accepted"].Properties) // embedded, which the reading of types does not see
	all["BatchResult"].Required = []string{"status"}
	all["BatchResult"].Description = "Of one that was accepted what Accepted has, of any other a problem."
}

func batchExamples() map[string]*huma.Example {
	var all []any
	for _, name := range []string{"email", "sms"} {
		n := maps.Clone(examples()[name].Value.(map[string]any))
		n["idempotency_key"] = "order-4711-" + name
		all = append(all, n)
	}
	return map[string]*huma.Example{"two": {Value: map[string]any{"notifications": all}}}
}
