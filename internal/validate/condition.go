package validate

import "strings"

// condition reports whether s is an FCM condition: topics joined by &&, || and !, with parentheses, five at most.
func condition(s string) bool {
	p := conditionParser{rest: s}
	return len(s) <= 8192 && p.expression(0) && p.word("") && p.rest == "" && p.topics <= 5
}

type conditionParser struct {
	rest   string
	topics int
}

// expression = term { ("&&" | "||") term }
func (p *conditionParser) expression(depth int) bool {
	for p.term(depth) {
		if !p.word("&&") && !p.word("||") {
			return true
		}
	}
	return false
}

// term = "!" term | "(" expression ")" | "'" topic "'" "in" "topics"
func (p *conditionParser) term(depth int) bool {
	switch {
	case depth > 16:
		return false
	case p.word("!"):
		return p.term(depth + 1)
	case p.word("("):
		return p.expression(depth+1) && p.word(")")
	case p.word("'"):
		name, rest, found := strings.Cut(p.rest, "'")
		p.rest = rest
		p.topics++
		return found && topicName(name) && p.word("in") && p.word("topics")
	default:
		return false
	}
}

// word takes w, and the spaces before it, off the front.
func (p *conditionParser) word(w string) bool {
	rest, found := strings.CutPrefix(strings.TrimLeft(p.rest, " "), w)
	if found {
		p.rest = rest
	}
	return found
}
