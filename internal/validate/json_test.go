package validate

import (
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// slowText is [reader.text] byte by byte.
func slowText(r *reader) string {
	r.lone = false
	if !r.take('"') {
		return ""
	}
	start := r.i
	for r.i < len(r.b) {
		switch c := r.b[r.i]; {
		case c == '"':
			r.i++
			return slowUnescape(r, r.b[start:r.i-1])
		case c < ' ':
			r.stop("a string holds an unescaped control character")
			return ""
		case c == '\\':
			if !r.escape() {
				return ""
			}
		default:
			r.i++
		}
	}
	r.stop("a string does not end")
	return ""
}

func slowUnescape(r *reader, raw []byte) string {
	var out []byte
	for i := 0; i < len(raw); {
		switch {
		case raw[i] != '\\':
			out = append(out, raw[i])
			i++
		case raw[i+1] != 'u':
			out = append(out, unescaped(raw[i+1]))
			i += 2
		default:
			c := hex4(raw[i+2:])
			i += 6
			if utf16.IsSurrogate(c) {
				low := rune(-1)
				if i+1 < len(raw) && raw[i] == '\\' && raw[i+1] == 'u' {
					low = hex4(raw[i+2:])
				}
				if c = utf16.DecodeRune(c, low); c == utf8.RuneError {
					r.lone = true
				} else {
					i += 6
				}
			}
			out = utf8.AppendRune(out, c)
		}
	}
	return string(out)
}

// Whatever stands in a string, its text, where it ends and what is wrong with it are the same as when it is read byte by byte.
func TestReader_TextIsReadAsByteByByte(t *testing.T) {
	piece := rapid.OneOf(rapid.SampledFrom([]string{
		`"`, `\`, `\"`, `\\`, `\n`, `\u00e9`, `\ud83c\udf89`, `\ud83c`, `\udf89`, `\ud83c\u0041`, `\u12`, `\x`, "\x00", "\x1f", "\x7f", "\n", "é", "😀", "\xff", " ", "plain text",
	}), rapid.String())
	rapid.Check(t, func(t *rapid.T) {
		raw := []byte{'"'}
		for range rapid.IntRange(0, 8).Draw(t, "pieces") {
			raw = append(raw, piece.Draw(t, "piece")...)
		}
		if rapid.Bool().Draw(t, "ends") {
			raw = append(raw, `" `...)
		}
		quick, slow := reader{b: raw}, reader{b: raw}
		require.Equal(t, slowText(&slow), quick.text())
		require.Equal(t, slow, quick)
	})
}
