package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Rate is how many messages a second, written "100/s", "6000/m" or "1000/h"; 0 is without a limit.
type Rate float64

// perUnit is how many seconds a rate's unit has.
func perUnit(unit string) float64 {
	switch unit {
	case "s":
		return 1
	case "m":
		return 60
	case "h":
		return 3600
	default:
		return 0
	}
}

// ParseRate reads "100/s", "6000/m" or "1000/h"; empty and "0" are no limit.
func ParseRate(s string) (Rate, error) {
	if s = strings.TrimSpace(s); s == "" || s == "0" {
		return 0, nil
	}
	number, unit, _ := strings.Cut(s, "/")
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	seconds := perUnit(strings.TrimSpace(unit))
	if err != nil || seconds == 0 || !(n > 0 && n <= 1e9) {
		return 0, fmt.Errorf("not a rate such as 100/s")
	}
	return Rate(n / seconds), nil
}

func (r Rate) String() string {
	if r == 0 {
		return ""
	}
	for _, unit := range []string{"s", "m", "h"} {
		if n := float64(r) * perUnit(unit); n == float64(int64(n)) {
			return strconv.FormatInt(int64(n), 10) + "/" + unit
		}
	}
	return strconv.FormatFloat(float64(r)*3600, 'g', -1, 64) + "/h"
}

func assignRate(v reflect.Value, raw any) string {
	r, err := ParseRate(fmt.Sprint(raw))
	if err != nil {
		return "must be a rate such as 100/s, 6000/m or 1000/h"
	}
	v.SetFloat(float64(r))
	return ""
}

// Limits is what every gateway that sends has: how much of it there may be.
type Limits struct {
	Rate        Rate `yaml:"rate" doc:"Messages in a unit of time (100/s, 6000/m), of all processes together. Empty: no limit. It sinks by itself while the provider asks to slow down." example:"100/s"`
	Concurrency int  `yaml:"concurrency" default:"0" doc:"Messages at the gateway at once, in each process, shared by all lanes; 0 takes the largest concurrency of its channels."`
}

func (l Limits) check(fs *Faults, key string) {
	fs.unless(l.Concurrency >= 0 && l.Concurrency <= 4096, "%s.concurrency must be between 1 and 4096, or 0 for that of its channels", key)
}
