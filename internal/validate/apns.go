package validate

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// A device token of APNs in hexadecimal: 32 bytes today, more for a Live Activity, 100 at most by Apple's word.
const (
	minAppleToken = 64
	maxAppleToken = 200
)

// appleDevice checks a device token, and gives it in lower case: one device, one spelling.
func (c *checker) appleDevice(at, s string) string {
	switch {
	case s == "":
		c.required(at, "give the device token that the app got from Apple, in hexadecimal")
	case len(s) < minAppleToken, len(s) > maxAppleToken, len(s)%2 != 0, strings.Trim(s, digits+"abcdefABCDEF") != "":
		c.invalid(at, "give the device token that the app got from Apple in hexadecimal: 64 to 200 digits, an even number of them, without spaces or brackets")
	}
	return strings.ToLower(s)
}

// apple checks what has to hold for a push to one of Apple's devices, beside what holds for every push. The blocks of other
// platforms are not looked at: they are for recipients of other types.
func (c *checker) apple(at string, p *notify.Push, b appleBlock) {
	if p.Title == "" && p.Body == "" && p.Image == "" && len(p.Data) == 0 && len(b.Payload)+len(b.aps) == 0 && b.Options["image"] == nil {
		c.required(at, "give a title, a body, data or apns/payload: nothing else reaches a recipient of type apns")
	}
	if (p.Image != "" || b.Options["image"] != nil) && p.Title == "" && p.Body == "" && b.aps["alert"] == nil {
		c.required(at+"/body", "give a title or a body too: APNs shows no picture alone")
	}
	for _, name := range []string{"aps", "fcm_options"} {
		if _, given := p.Data[name]; given {
			c.invalid(at+"/data/"+name, "choose another name: this one is APNs' own, or the picture's")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.Options)) {
		if name != "image" {
			c.invalid(child(at+"/apns/fcm_options", name), "leave it out for recipients of type apns: it is for FCM and has no way to APNs")
		}
	}
	if b.Activity != nil {
		c.invalid(at+"/apns/live_activity_token", "give that token as the recipient, and liveactivity as the header apns-push-type")
	}
	if size := b.least(p); size > maxPush {
		c.fault(at, notify.FaultTooLarge, "keep what is sent to APNs within "+strconv.Itoa(maxPush)+" bytes: these are "+strconv.Itoa(size)+" or more")
	}
}

// appleBlock is as much of the block apns as is looked at here; its shape has been checked.
type appleBlock struct {
	Headers  map[string]string          `json:"headers"`
	Payload  map[string]json.RawMessage `json:"payload"` // without aps
	Options  map[string]json.RawMessage `json:"fcm_options"`
	Activity json.RawMessage            `json:"live_activity_token"`
	aps      map[string]json.RawMessage
}

func readAppleBlock(raw json.RawMessage) (b appleBlock) {
	if len(raw) == 0 {
		return b
	}
	_ = json.Unmarshal(raw, &b) // its faults are known by now
	_ = json.Unmarshal(b.Payload["aps"], &b.aps)
	delete(b.Payload, "aps")
	if string(b.Activity) == "null" || string(b.Activity) == `""` {
		b.Activity = nil
	}
	for _, o := range []map[string]json.RawMessage{b.Options, b.aps} {
		maps.DeleteFunc(o, func(_ string, value json.RawMessage) bool { return string(value) == "null" }) // as good as absent
	}
	return b
}

// silent reports whether an Apple device gets something of p and shows, plays or counts none of it.
func (b *appleBlock) silent(p *notify.Push) bool {
	shows := p.Title != "" || p.Body != "" || p.Image != "" || b.aps["alert"] != nil || b.aps["badge"] != nil || b.aps["sound"] != nil
	return !shows && (len(p.Data) > 0 || len(b.Payload) > 0 || len(b.aps) > 0)
}

// least is a size that the payload of p does not fall short of: the gateway, which composes it, knows the exact one.
func (b *appleBlock) least(p *notify.Push) int {
	size := 0
	for _, o := range []map[string]json.RawMessage{b.Payload, b.aps} {
		for name, value := range o {
			var compact bytes.Buffer
			_ = json.Compact(&compact, value)
			size += len(name) + compact.Len()
		}
	}
	for name, value := range p.Data {
		if b.Payload[name] == nil { // which wins
			size += len(name) + len(value)
		}
	}
	if b.aps["alert"] == nil {
		size += len(p.Title) + len(p.Body)
	}
	return size
}
