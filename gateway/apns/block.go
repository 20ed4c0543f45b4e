package apns

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// object is a JSON object whose values are passed on with their original spelling.
type object = map[string]json.RawMessage

// block is the platform block apns: ApnsConfig of FCM v1
// (https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages#ApnsConfig). Its content goes to APNs unchanged.
// Fields that APNs does not have are refused by name.
type block struct {
	headers map[string]string // by their names in lower case
	payload object            // without aps
	aps     object
	image   string
}

// headers are the request headers that a block may set: not the credentials and not the content type
// (https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns#Create-a-POST-request-to-send-a-remote-notification).
var headers = map[string]bool{
	"apns-push-type": true, "apns-id": true, "apns-expiration": true, "apns-priority": true, "apns-topic": true, "apns-collapse-id": true,
}

// printable matches the values that a header may have.
var printable = regexp.MustCompile(`^[!-~]([ -~]*[!-~])?$`)

func readBlock(raw json.RawMessage) (*block, error) {
	b := &block{headers: map[string]string{}}
	given, err := parseObject(raw)
	if err != nil {
		return nil, errors.New("payload.apns must be a JSON object")
	}
	for name, value := range given {
		switch name {
		case "headers":
			err = b.readHeaders(value)
		case "payload":
			err = b.readPayload(value)
		case "fcm_options":
			err = b.readOptions(value)
		case "live_activity_token":
			err = errors.New("payload.apns.live_activity_token is for FCM: give that token as the recipient, and liveactivity as apns-push-type")
		default:
			err = fmt.Errorf("payload.apns%s is not known: there are headers, payload and fcm_options", shown(name))
		}
		if err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (b *block) readHeaders(raw json.RawMessage) error {
	var given map[string]string
	if json.Unmarshal(raw, &given) != nil {
		return errors.New("payload.apns.headers must be an object of strings")
	}
	for name, value := range given {
		lower := strings.ToLower(name)
		_, twice := b.headers[lower]
		switch {
		case !headers[lower]:
			return fmt.Errorf("payload.apns.headers%s is no header that a message may set: there are apns-push-type, apns-id, apns-expiration, apns-priority, apns-topic and apns-collapse-id", shown(name))
		case twice:
			return fmt.Errorf("payload.apns.headers%s is given twice", shown(lower))
		case !printable.MatchString(value):
			return fmt.Errorf("payload.apns.headers%s must be ASCII, without control characters and without spaces around it", shown(lower))
		case lower == "apns-collapse-id" && len(value) > maxCollapse:
			return fmt.Errorf("payload.apns.headers.apns-collapse-id must have at most %d bytes", maxCollapse)
		case lower == "apns-topic" && !topics.MatchString(value):
			return errors.New("payload.apns.headers.apns-topic must be a bundle id such as com.example.app, or one with an ending such as .voip")
		}
		if id, ok := notify.ParseID(value); lower == "apns-id" && ok {
			value = id
		} else if lower == "apns-id" {
			return errors.New("payload.apns.headers.apns-id must be a UUID")
		}
		b.headers[lower] = value
	}
	return nil
}

func (b *block) readPayload(raw json.RawMessage) error {
	var err error
	b.payload, err = parseObject(raw)
	if err != nil {
		return errors.New("payload.apns.payload must be a JSON object")
	}
	b.aps, err = parseObject(b.payload["aps"])
	if err != nil {
		return errors.New("payload.apns.payload.aps must be a JSON object")
	}
	delete(b.payload, "aps")
	for name, value := range b.aps {
		if string(value) == "null" {
			delete(b.aps, name) // same as absent
		}
	}
	return nil
}

func (b *block) readOptions(raw json.RawMessage) error {
	given, err := parseObject(raw)
	if err != nil {
		return errors.New("payload.apns.fcm_options must be a JSON object")
	}
	for name, value := range given {
		if name != "image" {
			return fmt.Errorf("payload.apns.fcm_options%s is for FCM and has no way to APNs: leave it out for recipients of type apns", shown(name))
		}
		if json.Unmarshal(value, &b.image) != nil {
			return errors.New("payload.apns.fcm_options.image must be a string")
		}
	}
	return nil
}

// parseObject parses an object. A missing object and null are empty.
func parseObject(raw json.RawMessage) (object, error) {
	o := object{}
	if len(raw) == 0 {
		return o, nil
	}
	if err := json.Unmarshal(raw, &o); err != nil {
		return nil, err
	}
	if o == nil {
		o = object{}
	}
	return o, nil
}

// fieldName matches the names of fields. Other names are the caller's data, and errors do not quote them.
var fieldName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,40}$`)

func shown(name string) string {
	if !fieldName.MatchString(name) {
		return ", a name in it,"
	}
	return "." + name
}
