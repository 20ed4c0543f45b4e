package email

import (
	"io"
	"mime"
	"net/textproto"
	"strings"
	"unicode"

	gomail "github.com/wneessen/go-mail"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// setFiles adds attachments, and those with a content id as inline parts. The part headers are written here: go-mail
// takes a content type as it is, line breaks included, and knows no file names beyond ASCII but as encoded words inside
// quotes, which RFC 2047 forbids and RFC 2231 replaces.
func setFiles(msg *gomail.Msg, attachments []notify.Attachment) error {
	var attached, inline []*gomail.File
	for i, a := range attachments {
		header, err := partHeader(element("attachments", i), a)
		if err != nil {
			return err
		}
		file := &gomail.File{Name: a.Filename, Header: header, Writer: func(w io.Writer) (int64, error) {
			n, err := w.Write(a.Content)
			return int64(n), err
		}}
		if a.ContentID == "" {
			attached = append(attached, file)
		} else {
			inline = append(inline, file)
		}
	}
	msg.SetAttachments(attached)
	msg.SetEmbeds(inline)
	return nil
}

func partHeader(field string, a notify.Attachment) (textproto.MIMEHeader, error) {
	if a.Filename == "" || len(a.Filename) > 255 || strings.ContainsFunc(a.Filename, unicode.IsControl) {
		return nil, fault(field+".filename", "is absent, holds a control character or is longer than 255 bytes")
	}
	name := strings.NewReplacer("/", "_", `\`, "_").Replace(a.Filename)
	kind, params, err := "application/octet-stream", map[string]string{}, error(nil)
	if a.ContentType != "" {
		kind, params, err = mime.ParseMediaType(a.ContentType)
	}
	if err != nil || !strings.Contains(kind, "/") || strings.HasPrefix(kind, "multipart/") {
		return nil, fault(field+".content_type", "is no media type such as application/pdf")
	}
	params["name"] = name
	h, disposition := textproto.MIMEHeader{}, "attachment"
	if a.ContentID != "" {
		if !ascii(a.ContentID) || strings.ContainsAny(a.ContentID, "<> ") || strings.ContainsFunc(a.ContentID, unicode.IsControl) {
			return nil, fault(field+".content_id", "holds a character that no content id has")
		}
		disposition = "inline"
		h.Set("Content-ID", "<"+a.ContentID+">")
	}
	if len(name) > 100 {
		delete(params, "name") // only old readers look for it, and a line has 998 bytes
	}
	h.Set("Content-Type", mime.FormatMediaType(kind, params))
	h.Set("Content-Disposition", mime.FormatMediaType(disposition, map[string]string{"filename": name}))
	if h.Get("Content-Type") == "" || h.Get("Content-Disposition") == "" {
		return nil, fault(field, "has a file name or content type that no header can hold")
	}
	return h, nil
}
