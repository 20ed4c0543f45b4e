package producer

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// letterChoice says by what dead letters are chosen, for both operations.
const letterChoice = "All filters that are given have to agree. A request reads a bounded part of the topics: go on with next_cursor, and the same filters, until it is null."

func describeListLetters(schemas huma.Registry) *huma.Operation {
	op := &huma.Operation{
		Method: http.MethodGet, Path: "/v1/dead-letters", OperationID: "list-dead-letters", Summary: "What ended without delivery and can be sent again",
		Tags: []string{"dead letters"}, Security: keyed(),
		Description: "Needs scope read. Those that were redriven are left out. Channel by channel and partition by partition the oldest come first. " +
			letterChoice + " A page may be shorter than limit, or empty, and not the last.",
		Parameters: append(choosingLetters(),
			textParameter("cursor", 1024, "The next_cursor of the page before."),
			numberParameter("limit", "How many at most.", 1, maxLimit, defaultLimit),
		),
		Responses: map[string]*huma.Response{"200": {
			Description: "The letters, without what they say.", Content: content[page[notify.Letter]](schemas, "LetterPage"),
		}},
	}
	refusals(schemas, op, 401, 403, 422, 500, 503)
	return op
}

func describeRedrive(schemas huma.Registry) *huma.Operation {
	op := &huma.Operation{
		Method: http.MethodPost, Path: "/v1/dead-letters/redrive", OperationID: "redrive-dead-letters", Summary: "Send dead letters again",
		Tags: []string{"dead letters"}, Security: keyed(),
		Description: "Needs scope admin. Each becomes a job again, unchanged, as the next run of its notification. " +
			"One that was redriven before is skipped, and one that is redriven twice all the same is sent once; so is what a gateway turned out to have taken. " +
			"What has expired would only expire again: it is skipped unless expires_in gives it more time. " +
			"A 503 may come when some were redriven already: repeat it, they are skipped then.\n\n" + letterChoice,
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {
			Schema: redriveBody(), Examples: map[string]*huma.Example{
				"some": {Value: map[string]any{"channel": []string{"email"}, "code": "451", "since": "2026-01-31T09:30:00Z", "dry_run": true}},
				"all":  {Value: map[string]any{"all": true, "limit": mostRedrives}},
			},
		}}},
		Responses: map[string]*huma.Response{"200": {
			Description: "What came of it.", Content: content[redriven](schemas, "Redriven"),
		}},
	}
	refusals(schemas, op, 400, 401, 403, 408, 413, 415, 422, 500, 503)
	return op
}

// choosingLetters are the parameters by which dead letters are chosen.
func choosingLetters() []*huma.Param {
	explode := true
	many := func(name, doc string, of *huma.Schema) *huma.Param {
		return &huma.Param{Name: name, In: "query", Description: doc, Explode: &explode, Schema: &huma.Schema{Type: huma.TypeArray, Items: of}}
	}
	offset := func(name, doc string) *huma.Param {
		return &huma.Param{Name: name, In: "query", Description: doc, Schema: sequence()}
	}
	return []*huma.Param{
		many("id", "Those of this notification, or of one of several.", &huma.Schema{Type: huma.TypeString, Format: "uuid"}),
		many("channel", "Those of this channel, or of one of several.", &huma.Schema{Type: huma.TypeString, Enum: anys(notify.Channels())}),
		wordParameter("lane", "Those of this lane.", notify.Lanes()),
		textParameter("reason", 255, "Those whose reason contains this."),
		textParameter("code", 64, "Those whose provider's code begins with this."),
		textParameter("gateway", 255, "Those that this gateway was called for last."),
		textParameter("recipient", 4096, "Those to this recipient: an address in any spelling, an E.164 number, a token, a topic or a condition."),
		timeParameter("since", "Those that died at that time or later."),
		timeParameter("until", "Those that died before that time."),
		offset("partition", "Those of this partition of the topic of dead letters."),
		offset("from_offset", "With partition: from this offset on."),
		offset("to_offset", "With partition: up to this offset."),
	}
}

// redriveBody is what a redrive may say: what a list may, and more.
func redriveBody() *huma.Schema {
	body := &huma.Schema{Type: huma.TypeObject, Properties: map[string]*huma.Schema{}, AdditionalProperties: false}
	for _, p := range choosingLetters() {
		s := *p.Schema
		s.Description = p.Description
		body.Properties[p.Name] = &s
	}
	limit := numberParameter("limit", "", 1, mostRedrives, defaultRedrives).Schema
	limit.Description = "How many of those that are chosen are looked at, at most."
	body.Properties["limit"] = limit
	cursor := textParameter("cursor", 1024, "").Schema
	cursor.Description = "The next_cursor of the answer before."
	body.Properties["cursor"] = cursor
	body.Properties["all"] = &huma.Schema{Type: huma.TypeBoolean, Description: "Every letter, where there is no other filter than channel."}
	body.Properties["dry_run"] = &huma.Schema{Type: huma.TypeBoolean, Description: "Say what would be redriven, and publish nothing."}
	body.Properties["expires_in"] = &huma.Schema{
		Type: huma.TypeString, Description: "How long from now they are worth delivering; as they say themselves when it is absent.", Examples: []any{"24h"},
	}
	return body
}
