package producer

import (
	"cmp"
	"maps"
	"reflect"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// note is what a Go type cannot say of a field.
type note struct {
	doc     string
	most    int // characters or elements
	pattern string
	words   []any
	example any
}

// notes are the limits of the contract, by schema and field. Validation itself is not done by them.
var notes = map[string]map[string]note{
	"Notification": {
		"id":             {doc: "The caller's own UUID for it; one is made when it is absent.", example: "0190163d-8694-739b-aea5-966c26f8ad91"},
		"tenant":         {doc: "Whose notification it is.", pattern: `^[A-Za-z0-9._-]{1,64}$`, example: notify.DefaultTenant},
		"channel":        {doc: "How it is delivered.", words: []any{"email", "sms", "push"}},
		"recipient":      {doc: "One address, E.164 number, registration token of FCM, device token of APNs in hexadecimal, topic or condition."},
		"recipient_type": {doc: "What recipient is; channel push only. A gateway of type fcm takes fcm, topic and condition, one of type apns takes apns.", words: []any{"fcm", "apns", "topic", "condition"}},
		"lane":           {doc: "How urgent it is: urgent (one-time passwords, security), normal, or bulk (campaigns).", words: []any{"urgent", "normal", "bulk"}},
		"ordering_key":   {doc: "Notifications of one key are delivered in order; the bare recipient when it is absent.", most: 255},
		"expires_at":     {doc: "No attempt starts later. When it is absent: an hour (urgent), a day (normal) or three days (bulk) from when it is to be sent."},
		"reference":      {doc: "The caller's own word for it; it need not be unique.", most: 255},
		"metadata":       {doc: "The caller's own data, at most 4 KiB."},
		"on_ambiguous":   {doc: "What to do when nobody knows whether a gateway took it: send it again, or hold it for a person to decide.", words: []any{"resend", "hold"}},
		"send_at":        {doc: "It is not sent earlier; at most 30 days ahead."},
		"sensitive":      {doc: "What it says is kept nowhere but in Kafka until its retention, and is shown nowhere: for one-time passwords and the like."},
	},
	"Email": {
		"from":        {doc: "The sender, one mailbox; the gateway's own when it is absent.", example: "Acme <no-reply@acme.example>"},
		"reply_to":    {doc: "Where answers go.", most: 50},
		"cc":          {doc: "Copies. recipient, cc and bcc are at most 50 mailboxes, and are delivered together or not at all, unless partial says otherwise.", most: 49},
		"bcc":         {doc: "Copies that no header shows.", most: 49},
		"subject":     {doc: "One line.", most: 998},
		"text":        {doc: "The plain text. One of text and html is needed; with both the reader's program chooses."},
		"html":        {doc: "The HTML."},
		"headers":     {doc: "Headers that begin with X- or List-, and Auto-Submitted (auto-generated where it is absent)."},
		"attachments": {doc: "Files."},
		"partial":     {doc: "What happens when a relay refuses some of the recipients: reject (the default) sends the mail to nobody, deliver sends it to the others. The events then list each recipient.", words: []any{"reject", "deliver"}},
	},
	"Attachment": {
		"filename":     {doc: "The name under which the file is shown.", most: 255},
		"content_type": {doc: "Its media type; application/octet-stream when it is absent.", example: "application/pdf"},
		"content":      {doc: "The file in standard base64."},
		"content_id":   {doc: "Makes it an inline part, which the HTML shows as cid:ID.", pattern: `^[A-Za-z0-9._%+@-]{1,255}$`},
	},
	"SMS": {
		"body":       {doc: "The text. One of body and media_urls is needed.", most: 1600},
		"from":       {doc: "The sender: an E.164 number, short code or alphanumeric id; the gateway's own when it is absent.", example: "+15550123456"},
		"media_urls": {doc: "https URLs of pictures and the like, which make it an MMS.", most: 10},
	},
	"Push": {
		"title":        {doc: "Title, body, image and data are at most 4,096 bytes together, to a topic or condition 2,048; to APNs it is the whole payload that has 4,096."},
		"image":        {doc: "An https URL."},
		"data":         {doc: "Data for the app. For recipients of other types than apns, FCM keeps from, message_type, google.* and gcm.* for itself."},
		"collapse_key": {doc: "A later push of the same key replaces this one.", most: 255},
		"priority":     {words: []any{"high", "normal"}},
		"android":      {doc: "AndroidConfig of FCM v1. Not for recipients of type apns."},
		"apns":         {doc: "ApnsConfig of FCM v1. For recipients of type apns its headers and payload go to APNs as they stand."},
		"webpush":      {doc: "WebpushConfig of FCM v1. Not for recipients of type apns."},
	},
	"Life": {
		"recipient":   {doc: "As it was submitted; absent while only events are known, and once it was expunged."},
		"state":       {doc: "One of " + list(notify.States()) + "; more may come."},
		"final":       {doc: "Whether this run has ended; a receipt may still turn sent into delivered or bounced while it is false."},
		"run":         {doc: "How often it was redriven."},
		"step":        {doc: "How often a worker put it back within the run."},
		"attempt":     {doc: "Attempts that counted so far."},
		"gateway":     {doc: "The gateway that was called last."},
		"code":        {doc: "What the provider said, as its own code."},
		"reason":      {doc: "Why it is in this state."},
		"provider_id": {doc: "The provider's name for the message."},
		"simulated":   {doc: "It was captured or simulated: nothing was sent."},
		"accepted_at": {doc: "When it was accepted; of its first event while no more is known."},
		"updated_at":  {doc: "When it came into this state."},
		"next_at":     {doc: "When it is tried next, while it waits."},
		"expunged":    {doc: "Its personal data was removed."},
		"payload":     {doc: "The message; only of one that is asked for, unless it is sensitive, was expunged or is not kept (status.store_payload)."},
		"timeline":    {doc: "Its events, by run, step and time; only of one that is asked for."},
	},
	"Event": {
		"event_id":    {doc: "The same event has the same one, however often it comes."},
		"state":       {doc: "One of " + list(notify.States()) + "; more may come."},
		"tries":       {doc: "The calls of gateways within this attempt."},
		"warnings":    {doc: "What of the notification was not understood, and ignored; for a text message its length, segments and encoding."},
		"recipients":  {doc: "Of an e-mail whose recipients have results of their own: what became of each, by the field that names it."},
		"note":        {doc: "stuck, unknown, redriven, duplicate (another notification came under this id, and was not sent) or inbound (a text came): the state stays as it is."},
		"inbound":     {doc: "Of the note inbound: the text that came."},
		"origin":      {doc: "The record that the event speaks of."},
		"fields":      {doc: "Of duplicate: the fields in which the two notifications differ, as JSON pointers, where the status store has both payloads."},
		"next_at":     {doc: "When it is tried next."},
		"provider_id": {doc: "The provider's name for the message."},
	},
	"EventInbound": {
		"from":    {doc: "Who sent it: masked, unless sms.inbound is full."},
		"to":      {doc: "The number that it was sent to."},
		"keyword": {doc: "stop, start or help, if it is a keyword."},
		"text":    {doc: "What it says, only if sms.inbound is full."},
	},
	"Try": {
		"ms": {doc: "How long the call took, in milliseconds."},
	},
	"Drain":     drainNotes(),
	"LaneDrain": drainNotes(),
	"Waiting":   waitingNotes(nil),
	"LaneWaiting": waitingNotes(map[string]note{
		"part":            {doc: "The part of the lane's partitions whose jobs wait: a worker process works on each."},
		"recipient_types": {doc: "Of channel push: only jobs to these types of recipients wait."},
	}),
	"GatewayStatus": waitingNotes(map[string]note{
		"paused":    {doc: "An operator has paused it."},
		"processes": {doc: "How many worker processes cannot call it."},
	}),
	"TierWait": {
		"tier": {doc: "For how long jobs wait on this step of the delay ladder.", example: "30s"},
	},
	"Letter": {
		"reason":     {doc: "Why it ended: one of our words, such as attempts_used_up, or the provider's sentence."},
		"recipient":  {doc: "As the server's log.recipients says: masked by default."},
		"expires_at": {doc: "After that it would only expire again."},
		"bytes":      {doc: "Size of what was submitted."},
		"letter":     {doc: "Where the dead letter is."},
		"origin":     {doc: "Where the job was."},
		"sent":       {doc: "A gateway turned out to have taken it: it is not redriven."},
	},
	"SkippedLetter": {
		"letter": {doc: "Where the dead letter is."},
		"why":    {doc: "redriven (before), sent (a gateway has taken it), expired, expunged, gone (its value was too large for a dead letter and is no longer where the job was), too_large (for its topic as it is now), or undecodable_batch (it holds a record batch that nobody can decode: its writer has to send these notifications again)."},
	},
	"Captured": {
		"summary":   {doc: "The subject, the title or the beginning of the body."},
		"file":      {doc: "Where the message is on the server."},
		"content":   {doc: "The message itself; only when one is asked for. Of a sensitive one its envelope."},
		"sensitive": {doc: "What the message says was not kept."},
	},
	"Fault": {
		"pointer": {doc: "A JSON pointer as a URI fragment (RFC 6901).", example: "#/payload/subject"},
		"code":    {words: []any{"required", "invalid", "too-long", "too-large", "unknown-field", "not-supported-yet"}},
		"detail":  {doc: "What to do."},
	},
}

// drainNotes are those of the figures of a lane.
func drainNotes() map[string]note {
	return map[string]note{
		"backlog":        {doc: "Jobs that are not done, those in hand included."},
		"rate":           {doc: "Jobs done a second, over the last half minute or so."},
		"oldest_seconds": {doc: "For how long the oldest of them has waited; null: none waits, or it is not known."},
		"drain_seconds":  {doc: "How long the backlog takes, at the rate that the lane has while it has something to do; null: not known, or nothing is being done."},
	}
}

// waitingNotes are those of a gateway that cannot be called, with what a type adds.
func waitingNotes(more map[string]note) map[string]note {
	all := map[string]note{
		"gateway": {doc: "The first gateway of the route that cannot be called."},
		"code":    {doc: "The provider's code; paused: an operator has paused the gateway."},
		"reason":  {doc: "What the gateway said last. It holds no recipient and no secret."},
		"since":   {doc: "When the gateway was first found to refuse calls, or was paused."},
	}
	maps.Copy(all, more)
	return all
}

// newSchemas describes every type of the API.
func newSchemas() huma.Registry {
	names := map[reflect.Type]string{
		reflect.TypeFor[problem]():               "Problem",
		reflect.TypeFor[accepted]():              "Accepted",
		reflect.TypeFor[results]():               "BatchResults",
		reflect.TypeFor[result]():                "BatchResult",
		reflect.TypeFor[cancelled]():             "Cancelled",
		reflect.TypeFor[heard]():                 "Heard",
		reflect.TypeFor[page[notify.Captured]](): "CapturedPage",
		reflect.TypeFor[page[notify.Life]]():     "LifePage",
		reflect.TypeFor[page[notify.Letter]]():   "LetterPage",
		reflect.TypeFor[redriven]():              "Redriven",
		reflect.TypeFor[choice]():                "Expunge",
		reflect.TypeFor[expunged]():              "Expunged",
		reflect.TypeFor[stats]():                 "Stats",
		reflect.TypeFor[totals]():                "Totals",
	}
	r := huma.NewMapRegistry("#/components/schemas/", func(t reflect.Type, hint string) string {
		return cmp.Or(names[t], huma.DefaultSchemaNamer(t, hint))
	})
	for _, t := range []reflect.Type{
		reflect.TypeFor[notify.Notification](), reflect.TypeFor[notify.Email](), reflect.TypeFor[notify.SMS](),
		reflect.TypeFor[notify.Push](), reflect.TypeFor[notify.Captured](), reflect.TypeFor[problem](), reflect.TypeFor[accepted](),
		reflect.TypeFor[cancelled](), reflect.TypeFor[results](), reflect.TypeFor[heard](), reflect.TypeFor[notify.Life](), reflect.TypeFor[notify.Event](),
		reflect.TypeFor[notify.Letter](),
		reflect.TypeFor[choice](), reflect.TypeFor[expunged](),
	} {
		r.Schema(t, true, "")
	}
	all := r.Map()
	for _, s := range all {
		for _, p := range s.Properties {
			p.Nullable = false // pointers and slices are Go's way to leave something out
		}
	}
	r.Schema(reflect.TypeFor[page[notify.Captured]](), true, "")
	r.Schema(reflect.TypeFor[page[notify.Life]](), true, "")
	r.Schema(reflect.TypeFor[page[notify.Letter]](), true, "")
	r.Schema(reflect.TypeFor[redriven](), true, "")
	r.Schema(reflect.TypeFor[stats](), true, "")
	for _, answer := range []string{
		"Accepted", "BatchResults", "BatchResult", "Cancelled", "Captured", "CapturedPage", "Expunged", "Heard", "Problem", "Fault", "Life", "LifePage", "Event", "Try", "Origin",
		"Stats", "ChannelStats", "LaneDrain", "Waiting", "LaneWaiting", "GatewayStatus",
	} {
		all[answer].AdditionalProperties = nil // answers grow
	}
	all["LaneWaiting"].Properties["recipient_types"].Nullable = false
	for name, fields := range notes {
		for field, n := range fields {
			n.put(all[name].Properties[field])
		}
	}
	all["Life"].Properties["payload"].Type = huma.TypeObject
	for _, figure := range []string{"oldest_seconds", "drain_seconds"} {
		all["Drain"].Properties[figure].Nullable, all["LaneDrain"].Properties[figure].Nullable = true, true
	}
	for _, block := range []string{"android", "apns", "webpush"} {
		all["Push"].Properties[block].Type = huma.TypeObject
	}
	describeNotification(all["Notification"])
	describeBatch(all)
	describeChoice(all["Expunge"])
	all["Receipt"] = receiptSchema()
	return r
}

func (n note) put(s *huma.Schema) {
	s.Description, s.Pattern, s.Enum = n.doc, n.pattern, n.words
	if n.example != nil {
		s.Examples = []any{n.example}
	}
	switch {
	case n.most > 0 && s.Type == huma.TypeArray:
		s.MaxItems = &n.most
	case n.most > 0:
		s.MaxLength = &n.most
	}
}

// describeNotification says which payload belongs to which channel, and hides what is not supported yet.
func describeNotification(s *huma.Schema) {
	delete(s.Properties, "template")
	s.Properties["payload"] = &huma.Schema{Type: huma.TypeObject, Description: "The message, by channel."}
	s.Required = []string{"channel", "recipient", "payload"}
	for _, variant := range []struct{ channel, payload string }{{"email", "Email"}, {"sms", "SMS"}, {"push", "Push"}} {
		s.OneOf = append(s.OneOf, &huma.Schema{Type: huma.TypeObject, Title: variant.channel, Properties: map[string]*huma.Schema{
			"channel": {Const: variant.channel}, "payload": ref(variant.payload),
		}})
	}
}

func ref(name string) *huma.Schema { return &huma.Schema{Ref: "#/components/schemas/" + name} }

func content[T any](schemas huma.Registry, name string) map[string]*huma.MediaType {
	return map[string]*huma.MediaType{"application/json": {Schema: schemas.Schema(reflect.TypeFor[T](), true, name)}}
}

func examples() map[string]*huma.Example {
	type object = map[string]any
	return map[string]*huma.Example{
		"email": {Value: object{"channel": "email", "recipient": "Ada Lovelace <ada@example.com>", "payload": object{
			"from": "Acme <no-reply@acme.example>", "subject": "Your order", "text": "It is on its way.",
		}}},
		"sms": {Value: object{"channel": "sms", "recipient": "+15550123456", "payload": object{"from": "+15550199999", "body": "Your code is 123456."}}},
		"push": {Value: object{"channel": "push", "recipient": "news", "recipient_type": "topic", "payload": object{
			"title": "News", "body": "Something happened.", "data": object{"article": "42"},
		}}},
	}
}

// codesOf lists the codes that have a status.
func codesOf(status int) (codes []code) {
	for c, row := range problems {
		if row.status == status {
			codes = append(codes, c)
		}
	}
	slices.Sort(codes)
	return codes
}
