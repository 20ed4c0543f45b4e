package fcm

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway"
)

// projectID matches project IDs, which become part of a URL. Old projects have a domain before a colon.
var projectID = regexp.MustCompile(`^[a-z0-9.:-]+$`)

// check returns every fault of the section that shows without its files.
func check(name string, cfg config.FCM) (*url.URL, error) {
	var faults []error
	if cfg.Endpoint == "" {
		cfg.Endpoint = google
		if cfg.Token != "" {
			faults = append(faults, fault(name, "token", "a static token is for a fake: set endpoint too, or take credentials_file"))
		}
	}
	base, err := gateway.BaseURL(cfg.Endpoint)
	if err != nil {
		faults = append(faults, fault(name, "endpoint", err.Error()))
	}
	if cfg.Token != "" && cfg.CredentialsFile != "" {
		faults = append(faults, fault(name, "token", "set either token or credentials_file, not both"))
	}
	if cfg.Token != "" && cfg.ProjectID == "" {
		faults = append(faults, fault(name, "project_id", "set the Firebase project; a static token does not name it"))
	}
	if cfg.ProjectID != "" && !projectID.MatchString(cfg.ProjectID) {
		faults = append(faults, fault(name, "project_id", "set the project's id as the Firebase console shows it: lower-case letters, digits and hyphens"))
	}
	return base, errors.Join(faults...)
}

func fault(name, field, remedy string) error {
	if field != "" {
		field = "." + field
	}
	return fmt.Errorf("gateways.%s%s: %s", name, field, remedy)
}
