package notify

import (
	"encoding/json"
	"time"
)

// Email is the payload of channel email. Addresses are RFC 5322 mailboxes ("Acme <no-reply@acme.example>").
type Email struct {
	From        string            `json:"from,omitempty"` // the gateway's own when absent
	ReplyTo     []string          `json:"reply_to,omitempty"`
	CC          []string          `json:"cc,omitempty"`
	BCC         []string          `json:"bcc,omitempty"` // never shows in a header
	Subject     string            `json:"subject"`
	Text        string            `json:"text,omitempty"` // one of text and html at least
	HTML        string            `json:"html,omitempty"`
	Headers     map[string]string `json:"headers,omitempty"` // X-* and List-* only
	Attachments []Attachment      `json:"attachments,omitempty"`
	Partial     string            `json:"partial,omitempty"` // [PartialReject] (the default) or [PartialDeliver]
}

// Attachment is a file in an e-mail. One with a ContentID is an inline part that the HTML shows by "cid:".
type Attachment struct {
	Filename    string `json:"filename"`
	ContentType string `json:"content_type,omitempty"` // application/octet-stream when absent
	Content     []byte `json:"content"`                // base64 on the wire
	ContentID   string `json:"content_id,omitempty"`
}

// SMS is the payload of channel sms. With media URLs it is an MMS.
type SMS struct {
	Body      string   `json:"body,omitempty"`
	From      string   `json:"from,omitempty"` // the gateway's own when absent
	MediaURLs []string `json:"media_urls,omitempty"`
}

// Push is the payload of channel push. The platform blocks are FCM v1 JSON
// (https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages).
type Push struct {
	Title       string            `json:"title,omitempty"`
	Body        string            `json:"body,omitempty"`
	Image       string            `json:"image,omitempty"`
	Data        map[string]string `json:"data,omitempty"`
	CollapseKey string            `json:"collapse_key,omitempty"`
	Priority    string            `json:"priority,omitempty"` // high or normal
	Android     json.RawMessage   `json:"android,omitempty"`
	APNs        json.RawMessage   `json:"apns,omitempty"`
	WebPush     json.RawMessage   `json:"webpush,omitempty"`
}

// Captured is one message that gateway capture kept instead of sending it.
type Captured struct {
	ID        string    `json:"id"`
	Channel   Channel   `json:"channel"`
	Recipient string    `json:"recipient"`
	Summary   string    `json:"summary"` // the subject, the title or the beginning of the body; empty when sensitive
	At        time.Time `json:"at"`
	File      string    `json:"file"`                // absolute path of the .eml or .json
	Content   string    `json:"content,omitempty"`   // the file's text, only when one message is asked for
	Sensitive bool      `json:"sensitive,omitempty"` // what the message says was not kept
}
