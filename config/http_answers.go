package config

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
)

// Bounds of a regular expression of a gateway of type http. Go matches in time linear in program and text; the gateway
// bounds the text.
const (
	maxPattern = 512
	maxProgram = 1000 // instructions
)

var badEscape = regexp.MustCompile(`~([^01]|$)`)

// Unclassified reports whether every response with a status of success counts as accepted, whatever its body says, and
// the configuration does not state that this is right.
func (h *HTTP) Unclassified() bool {
	s := h.Success
	return s.Path == "" && s.Match == "" && h.IDPath == "" && h.IDMatch == "" && !s.StatusOnly
}

func (h *HTTP) checkAnswers(fs *Faults, key string) {
	for _, field := range []struct{ path, match, pathValue, matchValue string }{
		{"success.path", "success.match", h.Success.Path, h.Success.Match},
		{"id_path", "id_match", h.IDPath, h.IDMatch},
		{"code_path", "code_match", h.CodePath, h.CodeMatch},
	} {
		fs.unless(validPointer(field.pathValue), "%s.%s must be a JSON Pointer, such as /messages/0/id; in it, ~ is ~0 and / is ~1", key, field.path)
		fs.unless(field.pathValue == "" || field.matchValue == "", "%s.%s and %s.%s are both set: keep one, the path for JSON and the match for other bodies", key, field.path, key, field.match)
	}
	checkPattern(fs, key+".id_match", h.IDMatch, true)
	checkPattern(fs, key+".code_match", h.CodeMatch, true)
	h.Success.check(fs, key)
	looks := h.Success.Path + h.Success.Match + h.IDPath + h.IDMatch
	fs.unless(!h.Success.StatusOnly || looks == "", "%s.success.status_only is set, but success.path, success.match, id_path or id_match looks at the body: keep one", key)
	for i, r := range h.Rules {
		r.check(fs, key, i+1, h.CodePath+h.CodeMatch != "")
	}
}

func (s HTTPSuccess) check(fs *Faults, key string) {
	fs.unless(s.Status.valid() && len(s.Status) > 0, "%s.success.status must be statuses, such as [200, 202] or 2xx", key)
	checkPattern(fs, key+".success.match", s.Match, len(s.Values) > 0)
	fs.unless(len(s.Values) == 0 || s.Path != "" || s.Match != "", "%s.success.values needs %s.success.path or success.match, which says where they stand", key, key)
}

func (r HTTPRule) check(fs *Faults, key string, n int, hasCode bool) {
	fs.unless(r.Status.valid(), "%s.rules, entry %d: status must be statuses, such as 400, [400, 404] or 4xx", key, n)
	fs.unless(len(r.Status)+len(r.Code)+len(r.Match) > 0, "%s.rules, entry %d: set status, code or match; this one would fit every answer", key, n)
	fs.unless(len(r.Code) == 0 || hasCode, "%s.rules, entry %d: code needs %s.code_path or code_match, which says where the code stands", key, n, key)
	fs.unless(slices.Contains(httpVerdicts, r.Verdict), "%s.rules, entry %d: verdict must be one of %s", key, n, strings.Join(httpVerdicts, ", "))
	fs.unless(r.Reason == "" || slices.Contains(httpReasons, r.Reason) && r.Verdict == "gone", "%s.rules, entry %d: reason belongs to the verdict gone and is one of %s", key, n, strings.Join(httpReasons, ", "))
	if fault := patternFault(r.Match, false); fault != "" {
		fs.add("%s.rules, entry %d: match %s", key, n, fault)
	}
}

func validPointer(pointer string) bool {
	return pointer == "" || pointer[0] == '/' && !badEscape.MatchString(pointer)
}

// checkPattern adds the fault of a regular expression; grouped means that the text of its one group is used.
func checkPattern(fs *Faults, key, pattern string, grouped bool) {
	if fault := patternFault(pattern, grouped); fault != "" {
		fs.add("%s %s", key, fault)
	}
}

// patternFault returns the reason why a pattern is refused, or "".
func patternFault(pattern string, grouped bool) string {
	if pattern == "" {
		return ""
	}
	if len(pattern) > maxPattern {
		return "must be at most 512 bytes"
	}
	compiled, err := regexp.Compile(pattern)
	if err != nil {
		return `must be a regular expression in RE2 syntax (https://github.com/google/re2/wiki/Syntax), such as ^ID: (\S+); in YAML, put it in single quotes` + whatIsWrong(err)
	}
	switch groups := compiled.NumSubexp(); {
	case programLength(pattern) > maxProgram:
		return "is too complex: make its repetitions {n,m} smaller"
	case groups > 1:
		return `has several groups: keep ( ) around the text to be used, and write the others as (?: )`
	case grouped && groups == 0:
		return `needs a group: put ( ) around the text to be used, as in ^ID: (\S+)`
	case compiled.MatchString(""):
		return "matches an empty answer too: write more of what an answer has to contain"
	}
	return ""
}

// whatIsWrong returns what the parser of regular expressions says, and of which part.
func whatIsWrong(err error) string {
	var wrong *syntax.Error
	if !errors.As(err, &wrong) {
		return ""
	}
	return fmt.Sprintf(" (%s: %q)", wrong.Code, wrong.Expr)
}

// programLength returns the number of instructions of a pattern that compiles.
func programLength(pattern string) int {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return maxProgram + 1
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return maxProgram + 1
	}
	return len(program.Inst)
}
