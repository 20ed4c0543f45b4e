package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// assign puts raw, a value as YAML or the environment gives it, into a field. What it answers goes behind the key, in a
// sentence; it never repeats the value, which may be a secret in the wrong place.
func assign(v reflect.Value, raw any) (problem string) {
	switch v.Interface().(type) {
	case time.Duration:
		return assignDuration(v, raw)
	case Size:
		return assignSize(v, raw)
	case Rate:
		return assignRate(v, raw)
	case []string:
		return assignList(v, raw)
	case Statuses:
		return assignStatuses(v, raw)
	case map[string]string:
		return assignTexts(v, raw)
	case []APIKey:
		return assignEntries(v, raw, "must be a list of {id, name, sha256, scopes}, as laudspeaker keys generate NAME prints it")
	case []HTTPRule:
		return assignEntries(v, raw, "must be a list of {status, code, verdict, reason}, see docs/gateway-http.md")
	}
	text, isText := raw.(string)
	switch v.Kind() {
	case reflect.String:
		// YAML reads +14155550100 as a number without the plus, and 0123 as octal.
		if !isText {
			return "must be text: put the value in quotes"
		}
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(fmt.Sprint(raw))
		if err != nil {
			return "must be true or false"
		}
		v.SetBool(b)
	case reflect.Int:
		n, err := strconv.Atoi(strings.TrimSpace(fmt.Sprint(raw)))
		if err != nil {
			return "must be a whole number"
		}
		v.SetInt(int64(n))
	}
	return ""
}

func assignDuration(v reflect.Value, raw any) string {
	d, err := time.ParseDuration(strings.TrimSpace(fmt.Sprint(raw)))
	if err != nil {
		return "must be a duration with its unit, such as 10s, 5m or 24h"
	}
	v.SetInt(int64(d))
	return ""
}

func assignSize(v reflect.Value, raw any) string {
	s, err := ParseSize(fmt.Sprint(raw))
	if err != nil {
		return "must be a size such as 512KiB, 5MiB or 1GiB"
	}
	v.SetInt(int64(s))
	return ""
}

// assignList takes a YAML list of texts, or one text with commas, which is all that the environment can say.
func assignList(v reflect.Value, raw any) string {
	list := []string{}
	switch raw := raw.(type) {
	case string:
		for _, s := range strings.Split(raw, ",") {
			if s = strings.TrimSpace(s); s != "" {
				list = append(list, s)
			}
		}
	case []any:
		for _, item := range raw {
			s, ok := item.(string)
			if !ok {
				return "must be a list of texts: put each value in quotes"
			}
			list = append(list, strings.TrimSpace(s))
		}
	default:
		return "must be a list, such as [a, b]"
	}
	v.Set(reflect.ValueOf(list))
	return ""
}
