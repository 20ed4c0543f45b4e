package validate

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// checkSMS returns the faults of a text message.
func checkSMS(t *testing.T, recipient string, payload map[string]any) notify.Faults {
	t.Helper()
	raw, err := json.Marshal(payload)
	require.NoError(t, err)
	n := &notify.Notification{Channel: notify.ChannelSMS, Recipient: recipient, Payload: raw}
	_, faults := Rules{DefaultFrom: map[notify.Channel]bool{notify.ChannelSMS: true}}.Check(n)
	return faults
}

// Numbers that no phone can have are refused with what to do. Ranges that a country may give out tomorrow are not.
func TestSMS_Numbers(t *testing.T) {
	const trunk, short, long, shape, country, hidden = "take out the prefix", "too short", "too long", "give an E.164 number", "country code that exists", "invisible character U+"
	for number, want := range map[string]string{
		"+4915112345678": "", "+15550123456": "", "+15005550006": "", "+12642351234": "", "+390612345678": "", "+39312345678": "", "+393123456789": "", "+2250101020304": "",
		"+525512345678": "", "+5491123456789": "", "+541123456789": "", "+78001234567": "", "+80012345678": "", "+870773111632": "", "+88213300655": "", "+6831234": "",
		"+247123456": "", "+919876543210": "", "+8613812345678": "", "+84123456789": "", "+972501234567": "", "+3544111234": "", "+4741234567": "", "+81312345678": "",

		"+4901511234567": trunk, "+4407911123456": trunk, "+3301612345678": trunk, "+610412345678": trunk, "+8109012345678": trunk, "+9109876543210": trunk,
		"+36061234567": trunk, "+3800441234567": trunk, "+9005321234567": trunk, "+270821234567": trunk, "+2001001234567": trunk, "+9809121234567": trunk,
		"+5501121234567": trunk, "+600123456789": trunk, "+9720501234567": trunk, "+11555012345": trunk, "+10555012345": trunk, "+4601234567": trunk,

		"+1555012345": short, "+35312345": short, "+22501020304": short, "+7495123456": short, "+525512345": short,
		"+155501234567": long, "+47412345678": long, "+5255123456789": long, "+370612345678": long,
		"+9990123456": country, "+210123456": country, "+99999999999": country,

		"004915112345678": shape, "tel:+4915112345678": shape, "+49(0)1511234567": shape, "+49-151-1234567": shape, "+49 151 1234567": shape,
		"\uff0b4915112345678": shape, "+49151123456\u0667": shape, "+4915112345678\u200b": hidden, "\u202a+4915112345678": hidden, "+49\u00a015112345678": hidden, "+0123456789": shape, "4915112345678": shape, "+": shape,
	} {
		faults := checkSMS(t, number, map[string]any{"body": "x"})
		if want == "" {
			require.Empty(t, faults, number)
			continue
		}
		require.Len(t, faults, 1, number)
		require.Equal(t, "#/recipient", faults[0].Pointer)
		require.Contains(t, faults[0].Detail, want, number)
	}
}

// The same mistakes get the same words where a push has a URL.
func TestPush_URLs(t *testing.T) {
	for address, want := range map[string]string{
		"https://a.example/x.png": "", "https://u:p@a.example/x": "", "https://a b.example/x": "space at character 10", "https://a.example/x\u200b": "zero width space",
		"https://a.example/%zz": "%25", "http://a.example/x": "begin it with https://", "ftp://a.example/x": "absolute URL", "https://": "give the host", "https://a.example:0/x": "host and port",
	} {
		for field, payload := range map[string]map[string]any{
			"#/payload/image":                      {"title": "t", "image": address},
			"#/payload/android/notification/image": {"title": "t", "android": map[string]any{"notification": map[string]any{"image": address}}},
			"#/payload/apns/fcm_options/image":     {"title": "t", "apns": map[string]any{"fcm_options": map[string]any{"image": address}}},
			"#/payload/webpush/fcm_options/link":   {"title": "t", "webpush": map[string]any{"fcm_options": map[string]any{"link": address}}},
		} {
			raw, err := json.Marshal(map[string]any{"channel": "push", "recipient": "token", "payload": payload})
			require.NoError(t, err)
			_, _, faults := inspect(raw, true)
			if want == "" {
				require.Empty(t, faults, address)
				continue
			}
			require.Len(t, faults, 1, address)
			require.Equal(t, field, faults[0].Pointer)
			require.Contains(t, faults[0].Detail, want, address)
		}
	}
}

// A URL that a provider cannot fetch is refused with the mistake that it has.
func TestSMS_MediaURLs(t *testing.T) {
	const space, host, absolute = "take out the space at character ", "look at host and port", "begins with https://"
	for address, want := range map[string]string{
		"https://a.example/x.png": "", "HTTPS://a.example/x": "", "https://bücher.example/x": "", "https://a.example:8443/x?y=%20#z": "", "https://192.0.2.1/x": "",
		"https://[2001:db8::1]:443/x": "", "https://my_bucket.s3.example/x": "", "http://127.0.0.1/x": "", "http://localhost:8080/x": "", "https://a.example./x": "",

		"https://a b.example/x": space + "10", " https://a.example/x": space + "1", "https://a.example/x ": space + "20", "https://a.example/x\n": space + "20",
		"https://a.example/ü \t": space + "20", "https://a.example/x\u00a0y": space + "20", "https://a.example/\u3000": space + "19",
		"https://a.example/x\u200b": "U+200B (zero width space) at character 20", "\ufeffhttps://a.example/x": "U+FEFF (byte order mark) at character 1",
		"https://a.example/%zz": "%25", "https://a.example/100%": "%25", "https://a.example/x?y=%zz#%": "%25",
		"https://u:p@a.example/x": "user and password", "http://a.example/x": "begin it with https://",
		"ftp://a.example/x": absolute, "//a.example/x": absolute, "/x.png": absolute, "a.example/x.png": absolute, "javascript:alert(1)": absolute, "data:image/png;base64,AA": absolute,
		"file:///etc/passwd": absolute, "s3://b/k": absolute, "https//a.example": absolute,
		"https:///x": "host after https://", "https://": "host after https://", "https:a.example/x": "host after https://", `https:\\a.example\x`: "host after https://",
		"https://a.example:99999/x": host, "https://a.example:0/x": host, "https://[::1/x": host, "https://.example/x": host, "https://a..b/x": host, "https://-a.example/x": host,
		"https://" + strings.Repeat("a", 64) + ".example/x": host,
		"https://a.example/\x7f":                            "control characters", "https://a.example/" + strings.Repeat("x", 5000): "2048 bytes", "": "give the URL of a file",
	} {
		faults := checkSMS(t, "+15550123456", map[string]any{"body": "x", "media_urls": []string{"https://a.example/1.png", address}})
		if want == "" {
			require.Empty(t, faults, address)
			continue
		}
		require.Len(t, faults, 1, address)
		require.Equal(t, "#/payload/media_urls/1", faults[0].Pointer)
		require.Contains(t, faults[0].Detail, want, address)
	}
}
