package email

import (
	"bytes"
	"encoding/base64"
	"mime/quotedprintable"
)

// part is a node of the MIME tree: a leaf with its encoded content, or a multipart.
type part struct {
	kind     string // the media type, without parameters
	header   header
	content  []byte
	boundary string
	parts    []*part
}

// group puts parts into a multipart; a single one needs none. The subtype may have parameters.
func group(subtype string, parts []*part) *part {
	if len(parts) == 1 {
		return parts[0]
	}
	p := &part{kind: "multipart/" + subtype, boundary: boundary(), parts: parts}
	p.header.add("Content-Type", p.kind+";", `boundary="`+p.boundary+`"`)
	return p
}

func textPart(kind, text string) *part {
	p := &part{kind: kind}
	p.header.add("Content-Type", kind+";", "charset=UTF-8")
	p.header.add("Content-Transfer-Encoding", "quoted-printable")
	var b bytes.Buffer
	w := quotedprintable.NewWriter(&b)
	_, _ = w.Write([]byte(text)) // a buffer takes everything
	_ = w.Close()
	p.content = b.Bytes()
	return p
}

// append writes p to out: its header, and all below it.
func (p *part) append(out []byte) []byte {
	for _, l := range p.header.lines {
		out = append(append(out, l...), "\r\n"...)
	}
	out = append(out, "\r\n"...)
	if p.boundary == "" {
		return append(out, p.content...)
	}
	for _, child := range p.parts {
		out = append(append(append(out, "--"...), p.boundary...), "\r\n"...)
		out = append(child.append(out), "\r\n"...)
	}
	return append(append(append(out, "--"...), p.boundary...), "--\r\n"...)
}

// base64Lines encodes b in lines of 76.
func base64Lines(b []byte) []byte {
	const raw = 57 // bytes of a line
	out := make([]byte, 0, (len(b)+raw-1)/raw*78)
	for len(b) > 0 {
		n := min(raw, len(b))
		out = base64.StdEncoding.AppendEncode(out, b[:n])
		b = b[n:]
		if len(b) > 0 {
			out = append(out, "\r\n"...)
		}
	}
	return out
}

// sevenBit gives b with CRLF at each line's end if it can go as it is: ASCII without NUL, in lines of at most 998 bytes.
func sevenBit(b []byte) ([]byte, bool) {
	b = bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))
	at := 0
	for _, c := range b {
		at++
		switch {
		case c == '\n':
			at = 0
		case c == '\r' || c == 0 || c >= 0x80 || at > longest:
			return nil, false
		}
	}
	return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")), true
}
