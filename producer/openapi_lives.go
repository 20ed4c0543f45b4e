package producer

import (
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func describeGetLife(schemas huma.Registry) *huma.Operation {
	op := &huma.Operation{
		Method: http.MethodGet, Path: "/v1/notifications/{id}", OperationID: "get", Summary: "What became of a notification",
		Tags: []string{"notifications"}, Security: keyed(),
		Description: "Needs scope read. A notification is found from the moment on in which it was accepted. " +
			"503 means that the server has not read far enough yet to say whether there is one: ask again. " +
			"While it is queued or retrying, and no gateway can be called for it, waiting says which gateway refuses calls, and why.",
		Parameters: []*huma.Param{idParameter()},
		Responses: map[string]*huma.Response{"200": {
			Description: "Its state, its timeline and what was submitted.", Content: content[notify.Life](schemas, "Life"),
		}},
	}
	refusals(schemas, op, 401, 403, 404, 422, 500, 503)
	return op
}

func describeListLives(schemas huma.Registry) *huma.Operation {
	op := &huma.Operation{
		Method: http.MethodGet, Path: "/v1/notifications", OperationID: "list", Summary: "What became of notifications, the latest accepted first",
		Tags: []string{"notifications"}, Security: keyed(),
		Description: "Needs scope read. All parameters that are given have to agree. A page may be shorter than limit, or empty, and not the last: " +
			"go on with next_cursor, and with the same parameters, until it is null.",
		Parameters: append(choosing(),
			textParameter("gateway", 255, "Those that this gateway was called for last."),
			textParameter("recipient", 4096, "Those to this recipient: an address in any spelling, an E.164 number, a token, a topic or a condition."),
			timeParameter("since", "Those accepted at that time or later."),
			timeParameter("until", "Those accepted before that time."),
			textParameter("cursor", 1024, "The next_cursor of the page before."),
			numberParameter("limit", "How many at most.", 1, mostLives, defaultLimit),
		),
		Responses: map[string]*huma.Response{"200": {
			Description: "The notifications, without payloads and timelines.", Content: content[page[notify.Life]](schemas, "LifePage"),
		}},
	}
	refusals(schemas, op, 401, 403, 422, 500, 503)
	return op
}

func describeStream(schemas huma.Registry) *huma.Operation {
	op := &huma.Operation{
		Method: http.MethodGet, Path: "/v1/stream", OperationID: "stream", Summary: "Events as they come",
		Tags: []string{"notifications"}, Security: keyed(),
		Description: "Needs scope read. Server-sent events that do not end by themselves: the id of each is its number, its name is event, its data an Event. " +
			"An event may come twice with the same event_id. Now and then an id comes without an event, so that as little as possible is read twice.\n\n" +
			"When the stream ends, ask again with the last id in Last-Event-ID, as browsers do by themselves: nothing is left out. " +
			"Before the server ends it by itself it says why in an event of the name end: slow (the reader is), shutdown, unavailable (the status store is) " +
			"or rebuilt (the store was made anew, and events come again).\n\n" +
			fmt.Sprintf("A server holds %d streams, of one key %d where there are several keys; another one is refused with 429.", mostStreams, keysStreams),
		Parameters: append(choosing(),
			&huma.Param{Name: "id", In: "query", Description: "Those of this notification.", Schema: &huma.Schema{Type: huma.TypeString, Format: "uuid"}},
			&huma.Param{
				Name: "after", In: "query", Description: "Begin after the event of this id; 0 begins with the first that is kept. Without it: with what comes from now on.",
				Schema: sequence(),
			},
			&huma.Param{Name: "Last-Event-ID", In: "header", Description: "The same as after, and counts before it.", Schema: sequence()},
		),
		Responses: map[string]*huma.Response{"200": {
			Description: "The events.",
			Content: map[string]*huma.MediaType{"text/event-stream": {Schema: frameSchema(), Example: map[string]string{
				"id": "42", "event": "event", "data": `{"event_id":"…","notification_id":"…","state":"sent",…}`,
			}}},
		}},
	}
	refusals(schemas, op, 401, 403, 422, 429, 500, 503)
	return op
}

// frameSchema describes one event of the stream, as OpenAPI before 3.2 is mostly understood.
func frameSchema() *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, Description: "One event of the stream.", Properties: map[string]*huma.Schema{
		"id":    {Type: huma.TypeString, Description: "The number to go on after."},
		"event": {Type: huma.TypeString, Enum: []any{"event", "end"}},
		"data": {
			Type: huma.TypeString, Description: "JSON: of event an Event, of end an object with reason and detail.",
			Extensions: map[string]any{"contentMediaType": "application/json"},
		},
	}}
}

// choosing are the parameters by which notifications and events alike are chosen.
func choosing() []*huma.Param {
	explode := true
	return []*huma.Param{
		{
			Name: "state", In: "query", Description: "Those in this state, or in one of several.", Explode: &explode,
			Schema: &huma.Schema{Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeString, Enum: stateWords()}},
		},
		wordParameter("channel", "Those of this channel.", notify.Channels()),
		wordParameter("lane", "Those of this lane.", notify.Lanes()),
		textParameter("reference", 255, "Those with this reference."),
		{
			Name: "tenant", In: "query", Description: "Those of this tenant.",
			Schema: &huma.Schema{Type: huma.TypeString, Pattern: `^[A-Za-z0-9._-]{1,64}$`},
		},
	}
}

func wordParameter[T any](name, doc string, words []T) *huma.Param {
	return &huma.Param{Name: name, In: "query", Description: doc, Schema: &huma.Schema{Type: huma.TypeString, Enum: anys(words)}}
}

func textParameter(name string, most int, doc string) *huma.Param {
	least := 1
	return &huma.Param{Name: name, In: "query", Description: doc, Schema: &huma.Schema{
		Type: huma.TypeString, MinLength: &least, MaxLength: &most, Pattern: `^[^\x00-\x1f\x7f-\x9f]*$`,
	}}
}

func timeParameter(name, doc string) *huma.Param {
	return &huma.Param{Name: name, In: "query", Description: doc, Schema: &huma.Schema{Type: huma.TypeString, Format: "date-time"}}
}

func numberParameter(name, doc string, least, most float64, absent int) *huma.Param {
	return &huma.Param{Name: name, In: "query", Description: doc, Schema: &huma.Schema{
		Type: huma.TypeInteger, Minimum: &least, Maximum: &most, Default: absent,
	}}
}

// sequence is an event's number.
func sequence() *huma.Schema {
	least := float64(0)
	return &huma.Schema{Type: huma.TypeInteger, Format: "int64", Minimum: &least}
}

func stateWords() []any { return anys(notify.States()) }

func anys[T any](words []T) []any {
	all := make([]any, len(words))
	for i, w := range words {
		all[i] = w
	}
	return all
}
