package http

import (
	"regexp"
	"slices"

	"github.com/laudspeaker/laudspeaker/config"
)

// acceptance is the part of a message that a response reports as accepted.
type acceptance int

const (
	acceptedNothing acceptance = iota
	acceptedPart               // some parts of a message that the provider has split, or some of several recipients
	acceptedAll
)

// patterns are the regular expressions of a section. A nil pattern is not configured.
type patterns struct {
	success, id, code *regexp.Regexp
	rules             []*regexp.Regexp
}

// compilePatterns compiles the patterns of a section without faults.
func compilePatterns(cfg config.HTTP) patterns {
	compile := func(text string) *regexp.Regexp {
		if text == "" {
			return nil
		}
		return regexp.MustCompile(text)
	}
	p := patterns{success: compile(cfg.Success.Match), id: compile(cfg.IDMatch), code: compile(cfg.CodeMatch)}
	for _, r := range cfg.Rules {
		p.rules = append(p.rules, compile(r.Match))
	}
	return p
}

// namesRefusals reports whether a pattern of the section recognizes refusals.
func (p patterns) namesRefusals() bool {
	return p.code != nil || slices.ContainsFunc(p.rules, func(r *regexp.Regexp) bool { return r != nil })
}

// accepted compares the body with success.path or success.match and their values.
func (s *Sender) accepted(a answer) acceptance {
	success := s.cfg.Success
	good, all := 0, 0
	switch {
	case success.Path != "":
		for _, p := range a.find(success.Path) {
			all++
			if p.found && p.value != nil && (len(success.Values) == 0 || slices.Contains(success.Values, p.String())) {
				good++
			}
		}
	case s.patterns.success != nil:
		for _, groups := range a.matches(s.patterns.success) {
			all++
			if len(success.Values) == 0 || slices.Contains(success.Values, groups[len(groups)-1]) {
				good++
			}
		}
	default:
		return acceptedAll
	}
	switch {
	case good == 0:
		return acceptedNothing
	case good < all:
		return acceptedPart
	}
	return acceptedAll
}

// readable reports whether the section can interpret the body.
func (s *Sender) readable(a answer) bool {
	if s.cfg.Success.Path+s.cfg.IDPath != "" && !a.isJSON {
		return false
	}
	return !a.noText || s.patterns.success == nil && s.patterns.id == nil
}
