package twilio

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway"
)

var (
	accountSID = regexp.MustCompile(`^AC[0-9a-fA-F]{32}$`)
	keySID     = regexp.MustCompile(`^SK[0-9a-fA-F]{32}$`)
	serviceSID = regexp.MustCompile(`^MG[0-9a-fA-F]{32}$`)
	// twilio-go rejects other credentials in every request, as if Twilio had refused the message.
	credential = regexp.MustCompile(`^[a-zA-Z0-9]+$`)
)

// check returns every fault of the section.
func check(name string, cfg config.Twilio) (*url.URL, error) {
	var faults []error
	fault := func(field, remedy string) {
		faults = append(faults, fmt.Errorf("gateways.%s.%s: %s", name, field, remedy))
	}
	if !accountSID.MatchString(cfg.AccountSID) {
		fault("account_sid", "set the SID of the account, AC and 32 hexadecimal digits, as the Twilio console shows it")
	}
	switch {
	case cfg.AuthToken == "" && cfg.APIKey == "" && cfg.APISecret == "":
		fault("auth_token", "set the token of the account, or api_key and api_secret")
	case cfg.AuthToken != "" && (cfg.APIKey != "" || cfg.APISecret != ""):
		fault("auth_token", "set either the token or api_key and api_secret, not both")
	case cfg.AuthToken != "" && !credential.MatchString(string(cfg.AuthToken)):
		fault("auth_token", "only letters and digits are in a token; look for spaces or line ends around it")
	case cfg.AuthToken == "" && !keySID.MatchString(cfg.APIKey):
		fault("api_key", "set the SID of the key, SK and 32 hexadecimal digits, beside api_secret")
	case cfg.AuthToken == "" && !credential.MatchString(string(cfg.APISecret)):
		fault("api_secret", "set the secret of the key: letters and digits only; look for spaces or line ends around it")
	}
	if cfg.MessagingServiceSID != "" && !serviceSID.MatchString(cfg.MessagingServiceSID) {
		fault("messaging_service_sid", "set the SID of the messaging service, MG and 32 hexadecimal digits")
	}
	if cfg.MessagingServiceSID != "" && cfg.From != "" {
		fault("from", "set either from or messaging_service_sid: the service chooses the sender")
	}
	base, err := gateway.BaseURL(cfg.BaseURL)
	if err != nil {
		fault("base_url", err.Error())
	}
	return base, errors.Join(faults...)
}
