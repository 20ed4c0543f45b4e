package config

import (
	"regexp"
	"time"
)

// APNs is the section of a gateway of type apns: Apple's Push Notification service with a provider token
// (https://developer.apple.com/documentation/usernotifications/establishing-a-token-based-connection-to-apns).
type APNs struct {
	Limits `yaml:",inline"`

	TeamID      string        `yaml:"team_id" doc:"Apple's id of the team, 10 letters and digits." example:"DEF123GHIJ"`
	KeyID       string        `yaml:"key_id" doc:"Apple's id of the key in key_file, 10 letters and digits." example:"ABC123DEFG"`
	KeyFile     string        `yaml:"key_file" doc:"The .p8 file of the APNs key, as Apple's developer account gives it out once. It is read again when Apple refuses the key."`
	Topic       string        `yaml:"topic" doc:"Bundle id of the app, for messages that name no apns-topic. Another app's makes Apple refuse every device." example:"com.example.app"`
	Environment string        `yaml:"environment" default:"production" enum:"production,sandbox" doc:"Apple's server: production, or sandbox for apps that Xcode has signed for development. The tokens of one are unknown to the other."`
	Endpoint    string        `yaml:"endpoint" doc:"Where the API is, for a fake; empty is Apple's. https, unless on loopback."`
	Timeout     time.Duration `yaml:"timeout" default:"8s" doc:"Deadline of one attempt."`
}

var (
	appleID  = regexp.MustCompile(`^[A-Z0-9]{10}$`)
	bundleID = regexp.MustCompile(`^[A-Za-z0-9.-]{1,255}$`)
)

func (a *APNs) check(fs *Faults, key string) {
	fs.unless(appleID.MatchString(a.TeamID), "%s.team_id must be the id of the team, 10 capital letters and digits, as Apple's developer account shows it under Membership", key)
	fs.unless(appleID.MatchString(a.KeyID), "%s.key_id must be the id of the key, 10 capital letters and digits, as Apple's developer account shows it under Keys", key)
	fs.unless(a.KeyFile != "", "%s.key_file must name the .p8 file of the APNs key", key)
	fs.unless(bundleID.MatchString(a.Topic), "%s.topic must be the bundle id of the app, such as com.example.app", key)
	if a.Endpoint != "" {
		checkURL(fs, key+".endpoint", a.Endpoint)
	}
}
