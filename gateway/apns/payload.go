package apns

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// maxPayload is the largest payload that APNs accepts
// (https://developer.apple.com/documentation/usernotifications/generating-a-remote-notification).
const maxPayload = 4096

// compose returns the payload of p with its block, and the push type. Fields of the block are kept. Missing fields come from the
// common fields: title and body become the alert, and data becomes keys beside aps. The picture becomes fcm_options.image, as with
// FCM, so that an app's service extension finds it with either gateway; mutable-content starts that extension. The blocks of other
// platforms are ignored.
//
// The push type is kind if the caller has chosen one. For an empty kind it is alert or, for a message that shows nothing, background.
func compose(p *notify.Push, b *block, kind string) (payload []byte, pushType string, err error) {
	if p.Title == "" && p.Body == "" && p.Image == "" && len(p.Data) == 0 && len(b.payload) == 0 && len(b.aps) == 0 && b.image == "" {
		return nil, "", errors.New("payload has nothing for Apple's devices: give a title, a body, data or apns.payload")
	}
	out := object{}
	for name, value := range p.Data {
		if name == "aps" || name == "fcm_options" {
			return nil, "", errors.New("payload.data." + name + " cannot be sent: APNs and the picture need this name for themselves")
		}
		out[name] = text(value)
	}
	aps := merge(p, b)
	if image := first(b.image, p.Image); image != "" {
		if aps["alert"] == nil {
			return nil, "", errors.New("payload.image needs a title or a body: APNs shows no picture alone")
		}
		out["fcm_options"] = encode(object{"image": text(image)})
		setDefault(aps, "mutable-content", "1")
	}
	shows := aps["alert"] != nil || aps["badge"] != nil || aps["sound"] != nil
	switch {
	case kind != "":
	case shows:
		kind = "alert"
	default:
		kind = "background"
		setDefault(aps, "content-available", "1")
	}
	for name, value := range b.payload {
		out[name] = value
	}
	out["aps"] = encode(aps)
	return encode(out), kind, nil
}

// merge returns aps.
func merge(p *notify.Push, b *block) object {
	aps := object{}
	for name, value := range b.aps {
		aps[name] = value
	}
	if alert := merged(b.aps["alert"], p.Title, p.Body); alert != nil {
		aps["alert"] = alert
	}
	return aps
}

// merged returns the given alert, with the title and body that it lacks. A key of a localised text counts as the text.
func merged(given json.RawMessage, title, body string) json.RawMessage {
	alert := object{}
	if given != nil && json.Unmarshal(given, &alert) != nil {
		if title == "" {
			return given
		}
		alert = object{"body": given} // an alert that is text alone is the body
	}
	if title != "" && alert["title-loc-key"] == nil {
		setDefault(alert, "title", string(text(title)))
	}
	if body != "" && alert["loc-key"] == nil {
		setDefault(alert, "body", string(text(body)))
	}
	if len(alert) == 0 {
		return nil
	}
	return encode(alert)
}

func setDefault(o object, name, value string) {
	if o[name] == nil {
		o[name] = json.RawMessage(value)
	}
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func text(s string) json.RawMessage { return encode(s) }

// encode returns JSON without HTML escapes, which would cost space. The value comes from JSON or is text, so it cannot fail.
func encode(v any) json.RawMessage {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
