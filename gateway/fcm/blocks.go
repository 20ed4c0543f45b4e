package fcm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"firebase.google.com/go/v4/messaging"
)

// The platform blocks are FCM's JSON. The SDK's types have fewer fields than FCM, and drop unknown fields without an error. So
// every block is parsed into its type, encoded again and compared. Lost fields are refused by name.

// android returns the block, and the fields that FCM has and the SDK does not know.
func android(raw json.RawMessage) (config *messaging.AndroidConfig, more map[string]any, err error) {
	var lights *messaging.LightSettings
	config, err = block[messaging.AndroidConfig]("android", raw, func(b map[string]any) (err error) {
		more, err = newer(b)
		if err != nil {
			return err
		}
		lights, err = prepareAndroid(b)
		return err
	})
	if err == nil && lights != nil {
		config.Notification.LightSettings = lights
	}
	return config, more, err
}

// newer removes from a block android the fields that FCM has and the SDK does not know, and returns them.
func newer(b map[string]any) (map[string]any, error) {
	more := map[string]any{}
	for _, name := range []string{"bandwidth_constrained_ok", "restricted_satellite_ok"} {
		value, given := b[name]
		on, isBool := value.(bool)
		if given && value != nil && !isBool {
			return nil, errors.New(name + " must be true or false")
		}
		delete(b, name)
		if on {
			more[name] = true
		}
	}
	return more, nil
}

// apns returns the block, and reports whether a critical sound has the volume 0, which the SDK would leave out.
func apns(raw json.RawMessage) (config *messaging.APNSConfig, silent bool, err error) {
	config, err = block[messaging.APNSConfig]("apns", raw, func(b map[string]any) error {
		payload, _ := b["payload"].(map[string]any)
		aps, _ := payload["aps"].(map[string]any)
		sound, _ := aps["sound"].(map[string]any)
		volume, _ := sound["volume"].(json.Number)
		silent = volume != "" && sameNumber(volume, "0")
		if silent {
			delete(sound, "volume")
		}
		return nil
	})
	if err == nil && config.Payload != nil && config.Payload.Aps == nil {
		config.Payload.Aps = &messaging.Aps{} // the SDK would write null
	}
	return config, silent, err
}

func webpush(raw json.RawMessage) (*messaging.WebpushConfig, error) {
	return block[messaging.WebpushConfig]("webpush", raw, nil)
}

// block parses a platform block; a missing block is empty. Prepare removes the values that the SDK misreads.
func block[T any](name string, raw json.RawMessage, prepare func(map[string]any) error) (*T, error) {
	given, err := object(raw)
	if err != nil {
		return nil, fmt.Errorf("payload.%s must be a JSON object", name)
	}
	if prepare != nil {
		if err := prepare(given); err != nil {
			return nil, fmt.Errorf("payload.%s.%w", name, err)
		}
	}
	text, err := json.Marshal(given)
	if err != nil {
		return nil, fmt.Errorf("payload.%s must be a JSON object", name)
	}
	out := new(T)
	if json.Unmarshal(text, out) != nil { // its text contains values
		return nil, fmt.Errorf("payload.%s has a value of the wrong type or one that FCM does not know", name)
	}
	again, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("payload.%s cannot be written as FCM's JSON", name)
	}
	kept, err := object(again)
	if err != nil {
		return nil, fmt.Errorf("payload.%s cannot be written as FCM's JSON", name)
	}
	if path, lost := missing("payload."+name, given, kept); lost {
		return nil, fmt.Errorf("%s would not reach FCM as it is; see the fields of projects.messages in FCM's reference and use their names there", path)
	}
	return out, nil
}

func object(raw []byte) (map[string]any, error) {
	if len(raw) == 0 {
		return map[string]any{}, nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var o map[string]any
	if err := d.Decode(&o); err != nil {
		return nil, err
	}
	if d.More() {
		return nil, errors.New("more than one value")
	}
	if o == nil { // null
		o = map[string]any{}
	}
	return o, nil
}

// missing returns the path of the first value in given that kept lacks.
func missing(path string, given, kept any) (string, bool) {
	switch g := given.(type) {
	case map[string]any:
		k, ok := kept.(map[string]any)
		if !ok {
			return path, true
		}
		for name, value := range g {
			other, there := k[name]
			if !there && (empty(value) || name == "critical" && value == json.Number("0")) {
				continue
			}
			if p, lost := missing(join(path, name), value, other); lost || !there {
				return p, true
			}
		}
	case []any:
		k, ok := kept.([]any)
		if !ok || len(g) != len(k) {
			return path, true
		}
		for i := range g {
			if p, lost := missing(fmt.Sprintf("%s[%d]", path, i), g[i], k[i]); lost {
				return p, true
			}
		}
	case json.Number:
		k, ok := kept.(json.Number)
		return path, !ok || !sameNumber(g, k)
	default:
		return path, given != kept
	}
	return path, false
}

// empty reports whether a value is FCM's default, which the SDK leaves out. A zero is not: a volume of 0 has a meaning.
func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		return !slices.ContainsFunc(values(v), func(v any) bool { return !empty(v) })
	}
	return false
}

func values(m map[string]any) []any {
	var all []any
	for _, v := range m {
		all = append(all, v)
	}
	return all
}

// sameNumber reports whether two numbers are equal: 1 equals 1.0, and large integers are compared by their digits.
func sameNumber(a, b json.Number) bool {
	if a == b {
		return true
	}
	const exact = 1 << 53
	x, errX := strconv.ParseFloat(string(a), 64)
	y, errY := strconv.ParseFloat(string(b), 64)
	return errX == nil && errY == nil && x == y && x < exact && x > -exact
}

// fieldName matches the names of fields. Other names are the caller's data, and errors do not quote them.
var fieldName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,40}$`)

func join(path, name string) string {
	if !fieldName.MatchString(name) {
		return path
	}
	return path + "." + name
}
