package validate

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// What FCM carries: title, body, image and data together, to a device and to many at once.
const (
	maxPush      = 4096
	maxPushTopic = 2048
)

var pushFields = []string{"title", "body", "image", "data", "collapse_key", "priority", "android", "apns", "webpush"}

func (c *checker) readPush(at string) *notify.Push {
	p := &notify.Push{}
	found := c.members(at, pushFields, func(i int, at string) {
		switch pushFields[i] {
		case "title":
			p.Title = c.str(at)
		case "body":
			p.Body = c.str(at)
		case "image":
			p.Image = c.str(at)
		case "data":
			p.Data = c.dict(at)
		case "collapse_key":
			p.CollapseKey = c.str(at)
		case "priority":
			p.Priority = c.str(at)
		case "android":
			p.Android = c.shaped(at, androidFields)
		case "apns":
			p.APNs = c.shaped(at, apnsFields)
		case "webpush":
			p.WebPush = c.shaped(at, webpushFields)
		}
	})
	if !found {
		return nil
	}
	return p
}

func (c *checker) push(p *notify.Push, kind string) {
	const at = "#/payload"
	if p.Title == "" && p.Body == "" && p.Image == "" && len(p.Data) == 0 && p.Android == nil && p.APNs == nil && p.WebPush == nil {
		c.required(at, "give a title, a body, data or a block for a platform")
	}
	if p.Image != "" {
		c.link(at+"/image", p.Image)
	}
	c.line(at+"/collapse_key", p.CollapseKey, 255)
	if p.Priority != "" && p.Priority != "high" && p.Priority != "normal" {
		c.invalid(at+"/priority", "give high or normal")
	}
	b := readAppleBlock(p.APNs)
	c.appleHeaders(at+"/apns/headers", p, b)
	if kind == notify.RecipientAPNs {
		c.unnamed(at+"/data", p.Data)
		c.apple(at, p, b)
		return
	}
	c.data(at+"/data", p.Data)
	size, most := len(p.Title)+len(p.Body)+len(p.Image), maxPush
	for key, value := range p.Data {
		size += len(key) + len(value)
	}
	if kind == notify.RecipientTopic || kind == notify.RecipientCondition {
		most = maxPushTopic
	}
	if size > most {
		c.fault(at, notify.FaultTooLarge, "keep title, body, image and data together within "+strconv.Itoa(most)+" bytes: these are "+strconv.Itoa(size))
	}
}

// unnamed refuses a value without a name.
func (c *checker) unnamed(at string, all map[string]string) {
	if _, unnamed := all[""]; unnamed {
		c.invalid(at, "give every value a name")
	}
}

// data refuses the names that FCM keeps for itself; APNs keeps none of them.
func (c *checker) data(at string, all map[string]string) {
	c.unnamed(at, all)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		switch {
		case key == "from", key == "message_type", strings.HasPrefix(key, "google."), strings.HasPrefix(key, "gcm."):
			c.invalid(child(at, key), "choose another name: FCM keeps from, message_type, google.* and gcm.* for itself")
		}
	}
}

// usual is what a push may be for where the configuration does not say.
var usual = []string{notify.RecipientFCM, notify.RecipientTopic, notify.RecipientCondition}

// target checks whom a push is for, among the types that the gateways take, and gives it as the provider wants it.
func (c *checker) target(n *notify.Notification, types []string) string {
	const at = "#/recipient"
	if len(types) == 0 {
		types = usual
	}
	switch {
	case n.RecipientType == notify.RecipientWebPush:
		c.later("#/recipient_type", "give "+either(types)+": webpush is not supported yet")
		return ""
	case !slices.Contains(types, n.RecipientType):
		c.invalid("#/recipient_type", "give "+either(types)+", and a recipient of that type: the gateway of this channel takes no other")
		return ""
	}
	switch n.RecipientType {
	case notify.RecipientAPNs:
		return c.appleDevice(at, n.Recipient)
	case notify.RecipientFCM:
		return c.device(at, n.Recipient)
	case notify.RecipientTopic:
		topic := strings.TrimPrefix(n.Recipient, "/topics/")
		if !topicName(topic) {
			c.invalid(at, "give the name of a topic: at most 900 letters, digits and - _ . ~ %")
		}
		return topic
	case notify.RecipientCondition:
		if !condition(n.Recipient) {
			c.invalid(at, "give a condition over at most 5 topics such as 'news' in topics && !('sport' in topics)")
		}
		return n.Recipient
	}
	return ""
}

// either names words as a person would: a, b or c.
func either(words []string) string {
	last := len(words) - 1
	if last == 0 {
		return words[0]
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

func (c *checker) device(at, s string) string {
	switch {
	case s == "":
		c.required(at, "give the registration token that the app got from FCM")
	case len(s) > 4096:
		c.fault(at, notify.FaultTooLong, "give a registration token of at most 4096 bytes")
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }):
		c.invalid(at, "give the registration token as the app got it from FCM: it has no spaces and is ASCII")
	}
	return s
}

func topicName(s string) bool {
	return s != "" && len(s) <= 900 && strings.Trim(s, letters+digits+"-_.~%") == ""
}
