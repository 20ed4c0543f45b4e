package apns

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"net/url"
	"regexp"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway"
)

var (
	appleID = regexp.MustCompile(`^[A-Z0-9]{10}$`)
	topics  = regexp.MustCompile(`^[A-Za-z0-9.-]{1,255}$`)
)

// servers are the addresses of Apple's servers, by environment
// (https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns#Establish-a-connection-to-APNs).
var servers = map[string]string{
	"production": "https://api.push.apple.com",
	"sandbox":    "https://api.sandbox.push.apple.com",
}

// check returns the address and the key, or every fault of the section.
func check(name string, cfg config.APNs) (base *url.URL, key *ecdsa.PrivateKey, err error) {
	var faults []error
	fault := func(field, remedy string) {
		faults = append(faults, fmt.Errorf("gateways.%s.%s: %s", name, field, remedy))
	}
	if !appleID.MatchString(cfg.TeamID) {
		fault("team_id", "set the id of the team, 10 capital letters and digits, as Apple's developer account shows it under Membership")
	}
	if !appleID.MatchString(cfg.KeyID) {
		fault("key_id", "set the id of the key, 10 capital letters and digits, as Apple's developer account shows it under Keys")
	}
	if !topics.MatchString(cfg.Topic) {
		fault("topic", "set the bundle id of the app, such as com.example.app")
	}
	endpoint, known := servers[cfg.Environment]
	if !known {
		fault("environment", "set production or sandbox")
	}
	if cfg.Endpoint != "" {
		endpoint = cfg.Endpoint
	}
	if endpoint != "" {
		base, err = gateway.BaseURL(endpoint)
		if err != nil {
			fault("endpoint", err.Error())
		}
	}
	key, err = readKey(cfg.KeyFile)
	if err != nil {
		fault("key_file", err.Error())
	}
	return base, key, errors.Join(faults...)
}
