package email

import (
	"mime"
	"strings"
	"unicode"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const octets = "application/octet-stream"

// files gives the parts of attachments, and of those with a content id as inline parts. File names beyond ASCII are written as
// RFC 2231 says.
func files(attachments []notify.Attachment) (attached, inline []*part, err error) {
	for i, a := range attachments {
		p, err := filePart(element("attachments", i), a)
		if err != nil {
			return nil, nil, err
		}
		if a.ContentID == "" {
			attached = append(attached, p)
		} else {
			inline = append(inline, p)
		}
	}
	return attached, inline, nil
}

func filePart(field string, a notify.Attachment) (*part, error) {
	if a.Filename == "" || len(a.Filename) > 255 || strings.ContainsFunc(a.Filename, unicode.IsControl) {
		return nil, fault(field+".filename", "is absent, holds a control character or is longer than 255 bytes")
	}
	name := strings.NewReplacer("/", "_", `\`, "_").Replace(a.Filename)
	kind, params, err := octets, map[string]string{}, error(nil)
	if a.ContentType != "" {
		kind, params, err = mime.ParseMediaType(a.ContentType)
	}
	if err != nil || !strings.Contains(kind, "/") || strings.HasPrefix(kind, "multipart/") {
		return nil, fault(field+".content_type", "is no media type such as application/pdf")
	}
	if kind == "message/partial" || kind == "message/external-body" { // the reader would fetch or wait for the rest
		return nil, fault(field+".content_type", "is a message that is not whole")
	}
	content, encoding := []byte(nil), "base64"
	if strings.HasPrefix(kind, "message/") { // never base64 (RFC 2046 5.2.1): readers show an empty mail
		if plain, ok := sevenBit(a.Content); ok {
			content, encoding = plain, "7bit"
		} else {
			kind, params = octets, map[string]string{}
		}
	}
	if encoding == "base64" {
		content = base64Lines(a.Content)
	}
	params["name"] = name
	if len(name) > 100 {
		delete(params, "name") // only old readers look for it, and a line has 998 bytes
	}
	p, disposition := &part{kind: kind, content: content}, "attachment"
	if a.ContentID != "" {
		if !ascii(a.ContentID) || strings.ContainsAny(a.ContentID, "<> ") || strings.ContainsFunc(a.ContentID, unicode.IsControl) {
			return nil, fault(field+".content_id", "holds a character that no content id has")
		}
		disposition = "inline"
		p.header.add("Content-ID", "<"+a.ContentID+">")
	}
	typed, disposed := mime.FormatMediaType(kind, params), mime.FormatMediaType(disposition, map[string]string{"filename": name})
	if typed == "" || disposed == "" || len(typed) > longest-20 {
		return nil, fault(field, "has a file name or content type that no header can hold")
	}
	p.header.add("Content-Type", typed)
	p.header.add("Content-Disposition", disposed)
	p.header.add("Content-Transfer-Encoding", encoding)
	return p, nil
}
