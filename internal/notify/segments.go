package notify

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Encodings of a text message.
const (
	EncodingGSM7 = "GSM-7"
	EncodingUCS2 = "UCS-2"
)

// The units of one message and of one part of several: septets of GSM-7, 16-bit units of UCS-2 (3GPP TS 23.038, 23.040).
const (
	gsmSingle, gsmPart = 160, 153
	ucsSingle, ucsPart = 70, 67
)

// gsmBasic and gsmExtended are the default alphabet of GSM-7 and its extension, whose characters take two septets.
const (
	gsmBasic = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?" +
		"¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
	gsmExtended = "\f^{}\\[~]|€"
)

// gsmSeptets holds the number of septets of each character of GSM-7, and asciiSeptets the same for ASCII.
var gsmSeptets, asciiSeptets = func() (m map[rune]int, ascii [utf8.RuneSelf]int) { //nolint:gochecknoglobals // never changed
	m = map[rune]int{}
	for _, r := range gsmBasic {
		m[r] = 1
	}
	for _, r := range gsmExtended {
		m[r] = 2
	}
	for r := range ascii {
		ascii[r] = m[rune(r)]
	}
	return m, ascii
}()

// septets returns the number of septets of r; 0 if GSM-7 does not have it.
func septets(r rune) int {
	if r < utf8.RuneSelf {
		return asciiSeptets[r]
	}
	return gsmSeptets[r]
}

// TextSize is what a text message costs on its way.
type TextSize struct {
	Units    int    // the length in UTF-16 units, by which providers limit a text
	Segments int    // the parts in which it is sent and charged
	Encoding string // of all parts
}

// SizeOf returns the size of a text in the encoding that phones and most providers choose: GSM-7 when every character is in
// that alphabet, else UCS-2. A provider that replaces characters needs fewer segments.
func SizeOf(text string) TextSize {
	size := TextSize{Encoding: EncodingGSM7}
	single, part := gsmSingle, gsmPart
	for _, r := range text {
		size.Units += utf16.RuneLen(r)
		if septets(r) == 0 {
			size.Encoding, single, part = EncodingUCS2, ucsSingle, ucsPart
		}
	}
	cost := utf16.RuneLen
	if size.Encoding == EncodingGSM7 {
		cost = septets
	}
	size.Segments = segments(text, cost, single, part)
	return size
}

// segments fills parts one after the other. A character of two units is never split.
func segments(text string, cost func(rune) int, single, part int) int {
	total, parts, used := 0, 1, 0
	for _, r := range text {
		n := cost(r)
		total += n
		if used+n > part {
			parts, used = parts+1, 0
		}
		used += n
	}
	if total <= single {
		return 1
	}
	return parts
}

// Warning says how long the text is.
func (s TextSize) Warning() string {
	return "the text has " + counted(s.Units, "UTF-16 unit") + " and takes " + counted(s.Segments, "segment") + " in " + s.Encoding
}

// counted writes a number with its unit: "1 segment", "2 segments".
func counted(n int, unit string) string {
	if n != 1 {
		unit += "s"
	}
	return strconv.Itoa(n) + " " + unit
}

// Warnings returns what the caller should know about a valid message: for a text without media its size.
func (m *Message) Warnings() []string {
	if m.SMS == nil || len(m.SMS.MediaURLs) > 0 {
		return nil
	}
	return []string{SizeOf(m.SMS.Body).Warning()}
}
