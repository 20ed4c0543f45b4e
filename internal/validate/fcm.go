package validate

// The platform blocks of FCM v1 (https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages), as far as
// Firebase's Go SDK, or gateway/fcm beside it, sends their fields.

var androidFields = []field{
	{name: "collapse_key"},
	{name: "priority", words: []string{"normal", "high", "NORMAL", "HIGH"}},
	{name: "ttl", kind: duration, most: 28 * 24 * 3600}, // FCM refuses more
	{name: "restricted_package_name"},
	{name: "data", kind: data},
	{name: "notification", kind: object, fields: androidNotificationFields},
	{name: "fcm_options", kind: object, fields: []field{{name: "analytics_label", kind: label}}},
	{name: "direct_boot_ok", kind: flag},
	{name: "bandwidth_constrained_ok", kind: flag},
	{name: "restricted_satellite_ok", kind: flag},
}

var androidNotificationFields = []field{
	{name: "title"},
	{name: "body"},
	{name: "icon"},
	{name: "color", kind: color},
	{name: "sound"},
	{name: "tag"},
	{name: "click_action"},
	{name: "body_loc_key"},
	{name: "body_loc_args", kind: list, with: "body_loc_key"},
	{name: "title_loc_key"},
	{name: "title_loc_args", kind: list, with: "title_loc_key"},
	{name: "channel_id"},
	{name: "image", kind: link},
	{name: "ticker"},
	{name: "sticky", kind: flag},
	{name: "event_time", kind: moment},
	{name: "local_only", kind: flag},
	{name: "notification_priority", words: []string{
		"PRIORITY_MIN", "PRIORITY_LOW", "PRIORITY_DEFAULT", "PRIORITY_HIGH", "PRIORITY_MAX",
	}},
	{name: "vibrate_timings", kind: list, of: duration},
	{name: "default_vibrate_timings", kind: flag},
	{name: "default_sound", kind: flag},
	{name: "light_settings", kind: object, fields: lightFields},
	{name: "default_light_settings", kind: flag},
	{name: "visibility", words: []string{"PRIVATE", "PUBLIC", "SECRET"}},
	{name: "notification_count", kind: integer},
	{name: "proxy", words: []string{"ALLOW", "DENY", "IF_PRIORITY_LOWERED"}},
}

var lightFields = []field{
	{name: "color", kind: object, required: true, fields: []field{
		{name: "red", kind: number, most: 1},
		{name: "green", kind: number, most: 1},
		{name: "blue", kind: number, most: 1},
		{name: "alpha", kind: number, most: 1},
	}},
	{name: "light_on_duration", kind: millis, required: true},
	{name: "light_off_duration", kind: millis, required: true},
}

var apnsFields = []field{
	{name: "headers", kind: dict},
	{name: "payload", kind: open, fields: []field{{name: "aps", kind: open, fields: apsFields}}},
	{name: "fcm_options", kind: object, fields: []field{{name: "analytics_label", kind: label}, {name: "image", kind: link}}},
	{name: "live_activity_token"},
}

var apsFields = []field{
	{name: "alert", kind: textOrObject, fields: []field{
		{name: "title"},
		{name: "subtitle"},
		{name: "body"},
		{name: "loc-key"},
		{name: "loc-args", kind: list, with: "loc-key"},
		{name: "title-loc-key"},
		{name: "title-loc-args", kind: list, with: "title-loc-key"},
		{name: "subtitle-loc-key"},
		{name: "subtitle-loc-args", kind: list, with: "subtitle-loc-key"},
		{name: "action-loc-key"},
		{name: "launch-image"},
	}},
	{name: "badge", kind: integer},
	{name: "sound", kind: textOrObject, fields: []field{
		{name: "critical", kind: integer, most: 1},
		{name: "name"},
		{name: "volume", kind: number, most: 1},
	}},
	{name: "content-available", kind: integer},
	{name: "mutable-content", kind: integer},
	{name: "category"},
	{name: "thread-id"},
}

var webpushFields = []field{
	{name: "headers", kind: dict},
	{name: "data", kind: data},
	{name: "notification", kind: open, fields: []field{
		{name: "actions", kind: list, of: object, fields: []field{{name: "action"}, {name: "title"}, {name: "icon"}}},
		{name: "title"},
		{name: "body"},
		{name: "icon"},
		{name: "badge"},
		{name: "dir", words: []string{"ltr", "rtl", "auto"}},
		{name: "data", kind: anything},
		{name: "image"},
		{name: "lang"},
		{name: "renotify", kind: flag},
		{name: "requireInteraction", kind: flag},
		{name: "silent", kind: flag},
		{name: "tag"},
		{name: "timestamp", kind: long},
		{name: "vibrate", kind: list, of: integer},
	}},
	{name: "fcm_options", kind: object, fields: []field{{name: "link", kind: link, required: true}}},
}
