package http

import (
	"errors"
	"fmt"
	"maps"
	"mime"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"

	"github.com/laudspeaker/laudspeaker/config"
)

// templates are the parts of a request, ready to be rendered.
type templates struct {
	url, checkURL, body *template.Template
	headers             []header
	pathOfMessage       bool // the path of the address depends on the message
}

type header struct {
	name  string
	value *template.Template
}

// parseAll reads every template of the section and gives all faults at once.
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
		return nil, unreadable(err)
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

// unreadable says of a parser's error where it is and, at most, the name that it stumbled over: the text may hold a secret
// in the wrong place.
func unreadable(err error) string {
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

// lacking says of an error of execution what is missing. It repeats names of the template alone: the rest of the text may
// hold the message.
func lacking(field string, err error) string {
	var refused valueError
	switch at := missingKey.FindStringSubmatch(err.Error()); {
	case errors.As(err, &refused):
		return field + ": " + string(refused)
	case at != nil:
		return field + ": the message has no " + at[1]
	}
	return field + ": the template cannot render the message"
}

// needs says through which function a value has to go where it is inserted, so that no value can end the string, the
// parameter or the path segment that it stands in.
type needs int

const (
	anything needs = iota
	inJSON
	inForm
	inURL
)

func inBody(contentType string) needs {
	kind, _, err := mime.ParseMediaType(contentType)
	switch {
	case err != nil:
		return anything
	case isJSON(contentType):
		return inJSON
	case kind == "application/x-www-form-urlencoded":
		return inForm
	}
	return anything
}

func isJSON(contentType string) bool {
	kind, _, err := mime.ParseMediaType(contentType)
	return err == nil && (kind == "application/json" || strings.HasSuffix(kind, "+json"))
}

// guard walks a template, holds its values against needs, and makes each go through text in the end, which
// refuses what would print as "<no value>" or in Go's own spelling.
type guard struct {
	tree  *parse.Tree
	needs needs
	query parse.Pos // where the query of an address begins
	fault string
}

func (g *guard) list(l *parse.ListNode) {
	if l == nil {
		return
	}
	for _, n := range l.Nodes {
		switch n := n.(type) {
		case *parse.ActionNode:
			g.action(n)
		case *parse.IfNode:
			g.list(n.List)
			g.list(n.ElseList)
		case *parse.RangeNode:
			g.list(n.List)
			g.list(n.ElseList)
		case *parse.WithNode:
			g.list(n.List)
			g.list(n.ElseList)
		}
	}
}

func (g *guard) action(n *parse.ActionNode) {
	if len(n.Pipe.Decl) > 0 {
		return // it prints nothing
	}
	last := n.Pipe.Cmds[len(n.Pipe.Cmds)-1]
	through := ""
	if f, ok := last.Args[0].(*parse.IdentifierNode); ok {
		through = f.Ident
	}
	if need := g.need(n.Pos); need != "" && through != need && g.fault == "" {
		g.fault = fmt.Sprintf("line %d: a value here must go through %s, as in {{%s .id}} or {{.id | %s}}", n.Line, need, need, need)
	}
	call := &parse.CommandNode{NodeType: parse.NodeCommand, Pos: n.Pos, Args: []parse.Node{parse.NewIdentifier(hidden).SetTree(g.tree).SetPos(n.Pos)}}
	n.Pipe.Cmds = append(n.Pipe.Cmds, call)
}

func (g *guard) need(at parse.Pos) string {
	switch {
	case g.needs == inJSON:
		return "json"
	case g.needs == inForm, g.needs == inURL && at > g.query:
		return "query"
	case g.needs == inURL:
		return "path"
	}
	return ""
}

// firstQuestion finds the ? that begins the query, in the order in which the template is written.
func firstQuestion(root *parse.ListNode) parse.Pos {
	first := parse.Pos(1 << 30)
	for _, n := range root.Nodes {
		if text, ok := n.(*parse.TextNode); ok {
			if at := strings.IndexByte(string(text.Text), '?'); at >= 0 {
				first = min(first, text.Pos+parse.Pos(at))
			}
		}
	}
	return first
}
