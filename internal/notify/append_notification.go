package notify

import (
	"maps"
	"slices"
	"time"
)

// appendNotification appends n's JSON as encoding/json would write it without HTML escaping. A test compares the two.
func appendNotification(b []byte, n *Notification) ([]byte, error) {
	b = append(b, '{')
	first := len(b)
	b = appendUnlessEmpty(b, "id", n.ID)
	b = appendUnlessEmpty(b, "tenant", n.Tenant)
	b = appendUnlessEmpty(b, "channel", string(n.Channel))
	b = appendText(append(b, `,"recipient":`...), n.Recipient)
	b = appendUnlessEmpty(b, "recipient_type", n.RecipientType)
	if len(n.Payload) > 0 {
		b = appendCompact(append(b, `,"payload":`...), n.Payload)
	}
	if len(n.Template) > 0 {
		b = appendCompact(append(b, `,"template":`...), n.Template)
	}
	b = appendUnlessEmpty(b, "lane", string(n.Lane))
	b = appendUnlessEmpty(b, "ordering_key", n.OrderingKey)
	b, err := appendTimeUnlessNil(b, "send_at", n.SendAt)
	if err != nil {
		return nil, err
	}
	if b, err = appendTimeUnlessNil(b, "expires_at", n.ExpiresAt); err != nil {
		return nil, err
	}
	b = appendUnlessEmpty(b, "reference", n.Reference)
	if len(n.Metadata) > 0 {
		b = appendTexts(append(b, `,"metadata":`...), n.Metadata)
	}
	b = appendUnlessEmpty(b, "on_ambiguous", n.OnAmbiguous)
	if n.Sensitive {
		b = append(b, `,"sensitive":true`...)
	}
	b = slices.Delete(b, first, first+1) // the comma before the first field
	return append(b, '}'), nil
}

// appendTexts appends an object of strings, ordered by name.
func appendTexts(b []byte, all map[string]string) []byte {
	for i, name := range slices.Sorted(maps.Keys(all)) {
		b = append(b, [2]byte{',', '{'}[firstOf(i)])
		b = appendText(append(appendText(b, name), ':'), all[name])
	}
	return append(b, '}')
}

func appendTimeUnlessNil(b []byte, name string, t *time.Time) ([]byte, error) {
	if t == nil {
		return b, nil
	}
	return AppendTime(append(append(append(b, `,"`...), name...), `":`...), *t)
}

// appendCompact appends raw without white space between its tokens. raw has to be JSON.
func appendCompact(b, raw []byte) []byte {
	for len(raw) > 0 {
		switch raw[0] {
		case ' ', '\t', '\n', '\r':
			raw = raw[1:]
		case '"':
			n := quotedLen(raw)
			b, raw = append(b, raw[:n]...), raw[n:]
		default:
			b, raw = append(b, raw[0]), raw[1:]
		}
	}
	return b
}

// quotedLen returns the length of the string that raw begins with, both quotes included.
func quotedLen(raw []byte) int {
	for i := 1; i < len(raw); i++ {
		switch raw[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return len(raw)
}
