package validate

// The platform blocks of FCM v1 (https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages), as far as
// Firebase's Go SDK, which sends them, knows their fields. These tables do not change.
var (
	aText     = shape{kind: text}
	aFlag     = shape{kind: flag}
	anInteger = shape{kind: integer}
	aNumber   = shape{kind: number}
	aDict     = shape{kind: dict}
	someData  = shape{kind: data}
	texts     = shape{kind: list, of: &aText}
	duration  = shape{kind: text, form: durationForm.MatchString, remedy: "give seconds such as 3600s or 0.5s"}
	moment    = shape{kind: text, form: aTime, remedy: "give a time by RFC 3339 such as 2030-01-31T09:30:00Z"}
	link      = shape{kind: text, form: aLink, remedy: "give an absolute URL that begins with https://"}
	label     = shape{kind: text, form: aLabel, remedy: "give at most 50 letters, digits and - _ . ~ %"}
)

var android = shape{kind: object, fields: []field{
	{name: "collapse_key", shape: &aText},
	{name: "priority", shape: &shape{kind: text, words: []string{"normal", "high"}}},
	{name: "ttl", shape: &duration},
	{name: "restricted_package_name", shape: &aText},
	{name: "data", shape: &someData},
	{name: "notification", shape: &androidNotification},
	{name: "fcm_options", shape: &shape{kind: object, fields: []field{{name: "analytics_label", shape: &label}}}},
	{name: "direct_boot_ok", shape: &aFlag},
}}

var androidNotification = shape{kind: object, fields: []field{
	{name: "title", shape: &aText},
	{name: "body", shape: &aText},
	{name: "icon", shape: &aText},
	{name: "color", shape: &shape{kind: text, form: aColor, remedy: "give a colour such as #336699"}},
	{name: "sound", shape: &aText},
	{name: "tag", shape: &aText},
	{name: "click_action", shape: &aText},
	{name: "body_loc_key", shape: &aText},
	{name: "body_loc_args", shape: &texts, with: "body_loc_key"},
	{name: "title_loc_key", shape: &aText},
	{name: "title_loc_args", shape: &texts, with: "title_loc_key"},
	{name: "channel_id", shape: &aText},
	{name: "image", shape: &link},
	{name: "ticker", shape: &aText},
	{name: "sticky", shape: &aFlag},
	{name: "event_time", shape: &moment},
	{name: "local_only", shape: &aFlag},
	{name: "notification_priority", shape: &shape{kind: text, words: []string{
		"PRIORITY_MIN", "PRIORITY_LOW", "PRIORITY_DEFAULT", "PRIORITY_HIGH", "PRIORITY_MAX",
	}}},
	{name: "vibrate_timings", shape: &shape{kind: list, of: &duration}},
	{name: "default_vibrate_timings", shape: &aFlag},
	{name: "default_sound", shape: &aFlag},
	{name: "light_settings", shape: &lightSettings},
	{name: "default_light_settings", shape: &aFlag},
	{name: "visibility", shape: &shape{kind: text, words: []string{"PRIVATE", "PUBLIC", "SECRET"}}},
	{name: "notification_count", shape: &anInteger},
	{name: "proxy", shape: &shape{kind: text, words: []string{"ALLOW", "DENY", "IF_PRIORITY_LOWERED"}}},
}}

var lightSettings = shape{kind: object, fields: []field{
	{name: "color", required: true, shape: &shape{kind: object, fields: []field{
		{name: "red", shape: &aNumber},
		{name: "green", shape: &aNumber},
		{name: "blue", shape: &aNumber},
		{name: "alpha", shape: &aNumber},
	}}},
	{name: "light_on_duration", required: true, shape: &duration},
	{name: "light_off_duration", required: true, shape: &duration},
}}

var apns = shape{kind: object, fields: []field{
	{name: "headers", shape: &aDict},
	{name: "payload", shape: &shape{kind: object, open: true, fields: []field{{name: "aps", shape: &aps}}}},
	{name: "fcm_options", shape: &shape{kind: object, fields: []field{
		{name: "analytics_label", shape: &label},
		{name: "image", shape: &link},
	}}},
	{name: "live_activity_token", shape: &aText},
}}

var aps = shape{kind: object, open: true, fields: []field{
	{name: "alert", shape: &shape{kind: textOr, object: &alert}},
	{name: "badge", shape: &anInteger},
	{name: "sound", shape: &shape{kind: textOr, object: &shape{kind: object, fields: []field{
		{name: "critical", shape: &anInteger},
		{name: "name", shape: &aText},
		{name: "volume", shape: &aNumber},
	}}}},
	{name: "content-available", shape: &anInteger},
	{name: "mutable-content", shape: &anInteger},
	{name: "category", shape: &aText},
	{name: "thread-id", shape: &aText},
}}

var alert = shape{kind: object, fields: []field{
	{name: "title", shape: &aText},
	{name: "subtitle", shape: &aText},
	{name: "body", shape: &aText},
	{name: "loc-key", shape: &aText},
	{name: "loc-args", shape: &texts, with: "loc-key"},
	{name: "title-loc-key", shape: &aText},
	{name: "title-loc-args", shape: &texts, with: "title-loc-key"},
	{name: "subtitle-loc-key", shape: &aText},
	{name: "subtitle-loc-args", shape: &texts, with: "subtitle-loc-key"},
	{name: "action-loc-key", shape: &aText},
	{name: "launch-image", shape: &aText},
}}

var webpush = shape{kind: object, fields: []field{
	{name: "headers", shape: &aDict},
	{name: "data", shape: &someData},
	{name: "notification", shape: &webNotification},
	{name: "fcm_options", shape: &shape{kind: object, fields: []field{{name: "link", required: true, shape: &link}}}},
}}

var webNotification = shape{kind: object, open: true, fields: []field{
	{name: "actions", shape: &shape{kind: list, of: &shape{kind: object, fields: []field{
		{name: "action", shape: &aText},
		{name: "title", shape: &aText},
		{name: "icon", shape: &aText},
	}}}},
	{name: "title", shape: &aText},
	{name: "body", shape: &aText},
	{name: "icon", shape: &aText},
	{name: "badge", shape: &aText},
	{name: "dir", shape: &shape{kind: text, words: []string{"ltr", "rtl", "auto"}}},
	{name: "data", shape: &shape{kind: anything}},
	{name: "image", shape: &aText},
	{name: "lang", shape: &aText},
	{name: "renotify", shape: &aFlag},
	{name: "requireInteraction", shape: &aFlag},
	{name: "silent", shape: &aFlag},
	{name: "tag", shape: &aText},
	{name: "timestamp", shape: &shape{kind: long}},
	{name: "vibrate", shape: &shape{kind: list, of: &anInteger}},
}}
