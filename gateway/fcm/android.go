package fcm

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"firebase.google.com/go/v4/messaging"
)

// prepareAndroid rewrites values that the SDK misreads: fractions of a second (the SDK reads 3 s and 5 ns as 3.5 s), times
// without nine decimals, and the priority in the spelling of FCM's reference. It also reads the light settings: the SDK panics
// without a colour, and loses the leading zeros of a colour.
func prepareAndroid(b map[string]any) (*messaging.LightSettings, error) {
	if err := change(b, "ttl", protoDuration); err != nil {
		return nil, err
	}
	if p, ok := b["priority"].(string); ok && (p == "HIGH" || p == "NORMAL") {
		b["priority"] = strings.ToLower(p)
	}
	n, ok := b["notification"].(map[string]any)
	if !ok {
		return nil, nil
	}
	if err := change(n, "event_time", protoTime); err != nil {
		return nil, fmt.Errorf("notification.%w", err)
	}
	if timings, ok := n["vibrate_timings"].([]any); ok {
		for i := range timings {
			text, _ := timings[i].(string)
			timing, err := protoDuration(text)
			if err != nil {
				return nil, fmt.Errorf("notification.vibrate_timings[%d] %w", i, err)
			}
			timings[i] = timing
		}
	}
	settings, ok := n["light_settings"]
	if !ok || settings == nil {
		return nil, nil
	}
	delete(n, "light_settings")
	lights, err := lightSettings(settings)
	if err != nil {
		return nil, fmt.Errorf("notification.light_settings %w", err)
	}
	return lights, nil
}

func change(b map[string]any, name string, to func(string) (string, error)) error {
	text, ok := b[name].(string)
	if !ok {
		return nil // absent, or refused as the wrong type
	}
	changed, err := to(text)
	if err != nil {
		return fmt.Errorf("%s %w", name, err)
	}
	b[name] = changed
	return nil
}

// durations matches protobuf's durations in JSON, without a sign.
var durations = regexp.MustCompile(`^([0-9]{1,9})(?:\.([0-9]{1,9}))?s$`)

var errDuration = errors.New(`must be seconds such as "3.5s"`)

func parseDuration(s string) (time.Duration, error) {
	m := durations.FindStringSubmatch(s)
	if m == nil {
		return 0, errDuration
	}
	seconds, _ := strconv.ParseInt(m[1], 10, 64)
	nanos, _ := strconv.ParseInt((m[2] + "000000000")[:9], 10, 64)
	return time.Duration(seconds)*time.Second + time.Duration(nanos), nil
}

func protoDuration(s string) (string, error) {
	d, err := parseDuration(s)
	if nanos := d % time.Second; nanos != 0 {
		return fmt.Sprintf("%d.%09ds", d/time.Second, nanos), err
	}
	return fmt.Sprintf("%ds", d/time.Second), err
}

func protoTime(s string) (string, error) {
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return "", errors.New("must be an RFC 3339 time")
	}
	return at.UTC().Format("2006-01-02T15:04:05.000000000Z"), nil
}

func lightSettings(settings any) (*messaging.LightSettings, error) {
	var l struct {
		Color *struct {
			Red, Green, Blue float64
			Alpha            *float64
		} `json:"color"`
		On  string `json:"light_on_duration"`
		Off string `json:"light_off_duration"`
	}
	text, _ := json.Marshal(settings) // it has just been decoded
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.DisallowUnknownFields()
	if d.Decode(&l) != nil || l.Color == nil {
		return nil, errors.New("must have a color of red, green, blue and alpha, light_on_duration and light_off_duration")
	}
	alpha := 1.0
	if l.Color.Alpha != nil {
		alpha = *l.Color.Alpha
	}
	color := "#"
	for _, part := range []float64{l.Color.Red, l.Color.Green, l.Color.Blue, alpha} {
		if part < 0 || part > 1 {
			return nil, errors.New("has a color with a part that is not between 0 and 1")
		}
		color += fmt.Sprintf("%02X", int(math.Round(part*255)))
	}
	on, errOn := parseDuration(l.On)
	off, errOff := parseDuration(l.Off)
	if errOn != nil || errOff != nil || on%time.Millisecond != 0 || off%time.Millisecond != 0 {
		return nil, errors.New(`must have light_on_duration and light_off_duration in seconds and whole milliseconds such as "3.5s"`)
	}
	return &messaging.LightSettings{Color: color, LightOnDurationMillis: on.Milliseconds(), LightOffDurationMillis: off.Milliseconds()}, nil
}
