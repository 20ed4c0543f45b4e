package config

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

const envPrefix = "LAUDSPEAKER_"

var gatewayName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,39}$`)

// envName is the variable of a key: LAUDSPEAKER_KAFKA_BROKERS for kafka.brokers.
func envName(key string) string {
	return envPrefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(key))
}

// ownEnv gives the variables that speak to us.
func ownEnv(environ []string) map[string]string {
	own := map[string]string{}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, envPrefix) && !fromKubernetes(name, value) {
			own[name] = value
		}
	}
	return own
}

// Kubernetes describes every service of a namespace to every container by variables that begin with the service's name. A
// service "laudspeaker" or "laudspeaker-api" must not make a configuration invalid.
var (
	serviceAddress = regexp.MustCompile(`_SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)$|_PORT_\d+_(TCP|UDP|SCTP)(_PROTO|_PORT|_ADDR)?$`)
	serviceURL     = regexp.MustCompile(`^(tcp|udp|sctp)://`)
)

func fromKubernetes(name, value string) bool {
	return serviceAddress.MatchString(name) || strings.HasSuffix(name, "_PORT") && serviceURL.MatchString(value)
}

// notSettings are variables of ours that are no keys: the shortcuts, what the command line reads, and what scripts and
// tests use.
func notSetting(name string) bool {
	switch name {
	case "LAUDSPEAKER_EMAIL", "LAUDSPEAKER_SMS", "LAUDSPEAKER_PUSH",
		"LAUDSPEAKER_CONFIG", "LAUDSPEAKER_SERVER", "LAUDSPEAKER_API_KEY", "LAUDSPEAKER_KAFKA_PORT",
		"LAUDSPEAKER_KAFKA_CONTROLLER_PORT", "LAUDSPEAKER_PRISM_PORT":
		return true
	}
	return strings.HasPrefix(name, "LAUDSPEAKER_TEST_")
}

// gatewaysFromEnv finds gateways that only the environment defines: LAUDSPEAKER_GATEWAYS_MAIL_TYPE makes "mail". One that
// the file names already is found by that name, hyphens and all.
func (l *loader) gatewaysFromEnv() {
	taken := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(l.gateways)) {
		variable := envName("gateways." + name)
		if other, clash := taken[variable]; clash {
			l.faults.add("gateways.%s and gateways.%s have the same variables (%s_…): rename one", other, name, variable)
		}
		taken[variable] = name
	}
	for variable := range l.env {
		base, isType := strings.CutSuffix(variable, "_TYPE")
		name, isGateway := strings.CutPrefix(base, envName("gateways."))
		if _, known := taken[base]; known || !isType || !isGateway {
			continue
		}
		if name = strings.ToLower(name); gatewayName.MatchString(name) {
			l.gateways[name] = ""
		}
	}
}
