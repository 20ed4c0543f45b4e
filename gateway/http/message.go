package http

import (
	"encoding/json"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// data returns the data of templates for m; docs/gateway-http.md lists it. Every name is always present, and empty if the
// message lacks the field, so that an unknown name is a mistake. Blocks of other channels are empty maps.
func data(m *notify.Message, from string, now time.Time) map[string]any {
	d := map[string]any{
		"id": m.ID, "tenant": m.Tenant, "channel": string(m.Channel), "lane": string(m.Lane),
		"recipient": m.Recipient, "recipient_type": m.RecipientType, "address": m.Address,
		"reference": m.Reference, "metadata": dict(m.Metadata), "from": from, "expires_in": expiresIn(m.ExpiresAt, now),
		"email": map[string]any(nil), "sms": map[string]any(nil), "push": map[string]any(nil),
	}
	switch {
	case m.Email != nil:
		d["email"] = email(m.Email)
		d["from"] = orElse(from, m.Email.From)
	case m.SMS != nil:
		d["sms"] = map[string]any{"body": m.SMS.Body, "media_urls": list(m.SMS.MediaURLs)}
		d["from"] = orElse(from, m.SMS.From)
	case m.Push != nil:
		d["push"] = push(m.Push)
	}
	return d
}

// expiresIn returns the whole seconds that remain, at least 1; 0 if the message does not expire.
func expiresIn(at *time.Time, now time.Time) int {
	if at == nil {
		return 0
	}
	return max(int(at.Sub(now)/time.Second), 1)
}

func email(e *notify.Email) map[string]any {
	files := []map[string]any{}
	for _, a := range e.Attachments {
		kind := a.ContentType
		if kind == "" {
			kind = "application/octet-stream"
		}
		// The content is bytes: json and base64 both write it as base64.
		files = append(files, map[string]any{"filename": a.Filename, "content_type": kind, "content": a.Content, "content_id": a.ContentID})
	}
	return map[string]any{
		"subject": e.Subject, "text": e.Text, "html": e.HTML, "headers": dict(e.Headers), "attachments": files,
		"reply_to": list(e.ReplyTo), "cc": list(e.CC), "bcc": list(e.BCC),
	}
}

func push(p *notify.Push) map[string]any {
	return map[string]any{
		"title": p.Title, "body": p.Body, "image": p.Image, "data": dict(p.Data), "collapse_key": p.CollapseKey, "priority": p.Priority,
		"android": block(p.Android), "apns": block(p.APNs), "webpush": block(p.WebPush),
	}
}

// block returns a platform's JSON as a map, so that templates can read its fields.
func block(raw json.RawMessage) map[string]any {
	m, _ := read(raw).value.(map[string]any)
	return m
}

// dict and list replace nil, which would be written as null, by {} and [].
func dict(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

func list(l []string) []string {
	if l == nil {
		return []string{}
	}
	return l
}
