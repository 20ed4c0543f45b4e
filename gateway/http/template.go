package http

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"github.com/laudspeaker/laudspeaker/config"
)

// templates are the parsed parts of a request.
type templates struct {
	url, checkURL, body *template.Template
	headers             []header
	pathOfMessage       bool // the path of the address depends on the message
}

type header struct {
	name  string
	value *template.Template
}

// parseAll parses every template of the section and returns all faults.
func parseAll(at string, cfg config.HTTP) (ts templates, faults []error) {
	read := func(field, text string, needs needs) *template.Template {
		t, fault := parseOne(field, text, string(cfg.Secret), needs)
		if fault != "" {
			faults = append(faults, fmt.Errorf("%s.%s: %s", at, field, fault))
		}
		return t
	}
	ts.url = read("url", cfg.URL, inURL)
	ts.checkURL = read("check.url", cfg.Check.URL, inURL)
	ts.body = read("body", strings.TrimRight(cfg.Body, "\n"), inBody(cfg.ContentType))
	for _, name := range slices.Sorted(maps.Keys(cfg.Headers)) {
		ts.headers = append(ts.headers, header{name, read("headers."+name, cfg.Headers[name], anything)})
	}
	path, _, _ := strings.Cut(withSecret.ReplaceAllString(cfg.URL, ""), "?")
	ts.pathOfMessage = strings.Contains(path, "{{")
	return ts, faults
}

var withSecret = regexp.MustCompile(`\{\{[^}]*\bsecret\b[^}]*\}\}`)

func parseOne(name, text, secret string, needs needs) (t *template.Template, fault string) {
	t, err := template.New(name).Option("missingkey=error").Funcs(functions(secret)).Parse(text)
	if err != nil {
		return nil, describeParseError(err)
	}
	for _, part := range t.Templates() {
		if part.Tree == nil || part.Root == nil {
			continue
		}
		g := &guard{tree: part.Tree, needs: needs, query: firstQuestion(part.Root)}
		if g.list(part.Root); g.fault != "" {
			return nil, g.fault
		}
	}
	if needs == inURL && len(t.Templates()) > 1 {
		return nil, "an address has no {{define}} or {{block}}: write it out"
	}
	return t, ""
}

// describeParseError describes a parser's error by its line and, at most, the name that caused it: the full text may contain a
// misplaced secret.
func describeParseError(err error) string {
	line := ""
	if at := lineOf.FindStringSubmatch(err.Error()); at != nil {
		line = "line " + at[1] + ": "
	}
	if f := noFunction.FindStringSubmatch(err.Error()); f != nil {
		known := slices.Sorted(maps.Keys(functions("")))
		return line + "there is no function " + f[1] + "; besides Go's own there are " + strings.Join(known[1:], ", ") // without the hidden one
	}
	return line + "it is no template that can be read: check the braces and quotes inside {{…}}; docs/gateway-http.md has examples"
}

var (
	lineOf     = regexp.MustCompile(`^template: [^:]*:(\d+)`)
	noFunction = regexp.MustCompile(`function "(\w+)" not defined`)
	missingKey = regexp.MustCompile(`map has no entry for key "([\w-]{1,64})"`)
)

// describeExecError describes an error of execution by what is missing. It quotes only names of the template: the full text may contain
// the message.
func describeExecError(field string, err error) string {
	var refused valueError
	switch at := missingKey.FindStringSubmatch(err.Error()); {
	case errors.As(err, &refused):
		return field + ": " + string(refused)
	case at != nil:
		return field + ": the message has no " + at[1]
	}
	return field + ": the template cannot render the message"
}
