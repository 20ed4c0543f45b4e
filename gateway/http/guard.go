package http

import (
	"fmt"
	"mime"
	"strings"
	"text/template/parse"
)

// needs is the function that a value must go through where it is inserted, so that no value can end the string, the parameter
// or the path segment around it.
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

// guard walks a template and checks that its values go through the function that they need. It also appends text to every
// value, which refuses values that would print as "<no value>" or in Go syntax.
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

// firstQuestion returns the position of the first ? in the template, which begins the query.
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
