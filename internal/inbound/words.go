package inbound

import (
	"strings"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Words are the keywords, in upper case.
type Words map[string]notify.Keyword

// NewWords returns the words of each keyword: spaces around them and upper or lower case do not count. A word of two keywords has
// the last one.
func NewWords(stop, start, help []string) Words {
	w := Words{}
	for _, list := range []struct {
		words   []string
		keyword notify.Keyword
	}{{help, notify.KeywordHelp}, {start, notify.KeywordStart}, {stop, notify.KeywordStop}} {
		for _, word := range list.words {
			w[canonical(word)] = list.keyword
		}
	}
	return w
}

// canonical is how a word is compared: exactly, but for what a phone adds to it.
func canonical(word string) string { return strings.ToUpper(strings.TrimSpace(word)) }

// longestWord is the longest text that can be a keyword, with some space around it: longer ones are not looked at.
const longestWord = 512

// Of returns the keyword that the whole of a text is, or none.
func (w Words) Of(text string) notify.Keyword {
	if len(text) > longestWord {
		return ""
	}
	return w[canonical(text)]
}
