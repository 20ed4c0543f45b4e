package validate

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// appleHeaderNames are the headers of a push to a device. apns-channel-id belongs to broadcasts, which have another address
// (https://developer.apple.com/documentation/usernotifications/sending-broadcast-push-notification-requests-to-apns).
var appleHeaderNames = []string{"apns-collapse-id", "apns-expiration", "apns-id", "apns-priority", "apns-push-type", "apns-topic"}

var (
	appleTopic     = regexp.MustCompile(`^[A-Za-z0-9-][A-Za-z0-9.-]{0,254}$`)
	visibleInASCII = regexp.MustCompile(`^[!-~]([ -~]*[!-~])?$`)
)

const maxAppleCollapse = 64

// appleHeaders checks the headers of the block apns, which go to APNs directly or by FCM. APNs refuses a contradiction
// between them, or with what the push carries, only once the push has been accepted here.
func (c *checker) appleHeaders(at string, p *notify.Push, b appleBlock) {
	given := b.Headers
	if len(given) == 0 {
		return
	}
	headers := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		lower := strings.ToLower(name)
		_, twice := headers[lower]
		headers[lower] = given[name]
		switch here := child(at, name); {
		case lower == "apns-channel-id":
			c.invalid(here, "leave it out: a channel is for broadcasts, and this push goes to a device")
		case index(appleHeaderNames, lower) < 0:
			c.invalid(here, "give one of "+strings.Join(appleHeaderNames, ", "))
		case twice:
			c.twice(at, name)
		default:
			c.appleHeader(here, lower, given[name])
		}
	}
	kind, topic := headers["apns-push-type"], headers["apns-topic"]
	c.appleContradiction(at, kind, topic)
	if kind == "" && notify.ApplePushType(topic) == "" && b.Activity == nil && b.silent(p) {
		kind = "background" // as the gateways send it
	}
	if kind == "background" && headers["apns-priority"] == "10" {
		c.invalid(at+"/apns-priority", "give 5, or leave it out: APNs refuses 10 for a background push, which is one that shows nothing")
	}
	if b.Activity != nil && (kind != "" && kind != "liveactivity" || topic != "" && notify.ApplePushType(topic) != "liveactivity") {
		c.invalid(at, "leave apns-push-type and apns-topic out, or give those of type liveactivity: live_activity_token is for a Live Activity")
	}
}

func (c *checker) appleHeader(at, name, value string) {
	switch {
	case !visibleInASCII.MatchString(value):
		c.invalid(at, "give ASCII without control characters and without spaces around it, or leave the header out")
	case name == "apns-collapse-id" && len(value) > maxAppleCollapse:
		c.fault(at, notify.FaultTooLong, "give at most "+strconv.Itoa(maxAppleCollapse)+" bytes")
	case name == "apns-priority" && value != "1" && value != "5" && value != "10":
		c.invalid(at, "give 1, 5 or 10")
	case name == "apns-topic" && !appleTopic.MatchString(value):
		c.invalid(at, "give a bundle id such as com.example.app, or one with an ending such as .voip")
	case name == "apns-id" && !isID(value):
		c.invalid(at, "give a UUID, or leave it out")
	case name == "apns-expiration":
		if _, err := strconv.ParseUint(value, 10, 63); err != nil {
			c.invalid(at, "give a time in Unix seconds, or leave it out for expires_at")
		}
	case name == "apns-push-type":
		if _, known := notify.AppleTopicSuffix(value); !known {
			c.invalid(at, "give "+either(notify.ApplePushTypes()))
		}
	}
}

func isID(s string) bool {
	_, ok := notify.ParseID(s)
	return ok
}

// appleContradiction checks headers against each other. An absent push type or topic follows from the other one.
func (c *checker) appleContradiction(at, kind, topic string) {
	suffix, known := notify.AppleTopicSuffix(kind)
	switch byTopic := notify.ApplePushType(topic); {
	case known && topic != "" && suffix != "" && byTopic != kind:
		c.invalid(at+"/apns-topic", "give the ending that apns-push-type requires; or leave the topic out, and the gateway's own gets that ending")
	case known && suffix == "" && byTopic != "":
		c.invalid(at+"/apns-push-type", "give the type that the ending of apns-topic requires, or leave it out")
	}
}
