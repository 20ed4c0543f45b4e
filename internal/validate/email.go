package validate

import (
	"encoding/base64"
	"maps"
	"mime"
	"slices"
	"strconv"
	"strings"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// maxRecipients is what one SMTP transaction carries: recipient, cc and bcc.
const maxRecipients = 50

var (
	emailFields      = []string{"from", "reply_to", "cc", "bcc", "subject", "text", "html", "headers", "attachments", "partial"}
	attachmentFields = []string{"filename", "content_type", "content", "content_id"}
)

func (c *checker) readEmail(at string) *notify.Email {
	e := &notify.Email{}
	found := c.members(at, emailFields, func(i int, at string) {
		switch emailFields[i] {
		case "from":
			e.From = c.str(at)
		case "reply_to":
			e.ReplyTo = c.strs(at)
		case "cc":
			e.CC = c.strs(at)
		case "bcc":
			e.BCC = c.strs(at)
		case "subject":
			e.Subject = c.str(at)
		case "text":
			e.Text = c.str(at)
		case "html":
			e.HTML = c.str(at)
		case "headers":
			e.Headers = c.dict(at)
		case "attachments":
			e.Attachments = c.readAttachments(at)
		case "partial":
			e.Partial = c.str(at)
		}
	})
	if !found {
		return nil
	}
	return e
}

func (c *checker) readAttachments(at string) (all []notify.Attachment) {
	if !c.is('[', at, "an array of objects") {
		return nil
	}
	ids := map[string]bool{}
	c.array(func(i int) {
		at := element(at, i)
		if a, found := c.readAttachment(at); found {
			c.attachment(at, a, ids)
			all = append(all, a)
		}
	})
	return all
}

func (c *checker) readAttachment(at string) (a notify.Attachment, found bool) {
	hasContent := false
	found = c.members(at, attachmentFields, func(i int, at string) {
		switch attachmentFields[i] {
		case "filename":
			a.Filename = c.str(at)
		case "content_type":
			a.ContentType = c.str(at)
		case "content":
			hasContent = true
			a.Content = c.bytes(at)
		case "content_id":
			a.ContentID = c.str(at)
		}
	})
	if found && !hasContent {
		c.required(at+"/content", "give the file as standard base64")
	}
	return a, found
}

func (c *checker) bytes(at string) []byte {
	if !c.is('"', at, "the file as standard base64") {
		return nil
	}
	b, err := base64.StdEncoding.DecodeString(c.text())
	if err != nil {
		c.invalid(at, "give the file as standard base64 with padding (RFC 4648, section 4)")
	}
	return b
}

// email checks e and brings its mailboxes into one spelling.
func (c *checker) email(e *notify.Email, hasFrom bool) {
	const at = "#/payload"
	if e.From != "" {
		e.From, _ = c.mailbox(at+"/from", e.From)
	} else if !hasFrom {
		c.required(at+"/from", `give the sender, such as "Acme <no-reply@acme.example>": the gateway has none of its own`)
	}
	c.mailboxes(at+"/reply_to", e.ReplyTo)
	c.mailboxes(at+"/cc", e.CC)
	c.mailboxes(at+"/bcc", e.BCC)
	if n := 1 + len(e.CC) + len(e.BCC); n > maxRecipients {
		c.fault(at, notify.FaultTooLarge, "keep recipient, cc and bcc together within "+strconv.Itoa(maxRecipients)+": these are "+strconv.Itoa(n))
	}
	if c.line(at+"/subject", e.Subject, 998) && strings.TrimSpace(e.Subject) == "" {
		c.required(at+"/subject", "give a subject")
	}
	if e.Text == "" && e.HTML == "" {
		c.required(at+"/text", "give text, html or both")
	}
	if e.Partial != "" && e.Partial != notify.PartialReject && e.Partial != notify.PartialDeliver {
		c.invalid(at+"/partial", "give reject (a refused recipient stops the mail for all) or deliver (the others get it)")
	}
	c.headers(at+"/headers", e.Headers)
}

func (c *checker) mailboxes(at string, all []string) {
	if len(all) > maxRecipients {
		c.fault(at, notify.FaultTooLarge, "keep it within "+strconv.Itoa(maxRecipients)+" mailboxes: these are "+strconv.Itoa(len(all)))
		return
	}
	for i := range all {
		all[i], _ = c.mailbox(element(at, i), all[i])
	}
}

// headers lets through what cannot change the mail's meaning, its route or its parts.
func (c *checker) headers(at string, all map[string]string) {
	if len(all) == 0 {
		return
	}
	seen := make(map[string]bool, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		folded := strings.ToLower(name)
		switch {
		case !token(name) || len(name) > 76:
			c.invalid(child(at, name), "give a header name of at most 76 letters, digits and hyphens")
		case folded == "auto-submitted":
			if v := strings.ToLower(all[name]); v != "no" && v != "auto-generated" && v != "auto-replied" && v != "auto-notified" {
				c.invalid(child(at, name), "give no, auto-generated, auto-replied or auto-notified (RFC 3834)")
			}
		case len(folded) < 3 || !strings.HasPrefix(folded, "x-") && (len(folded) < 6 || !strings.HasPrefix(folded, "list-")):
			c.invalid(child(at, name), "only headers that begin with X- or List-, and Auto-Submitted, can be set")
		case seen[folded]:
			c.twice(at, name)
		}
		seen[folded] = true
		if c.line(child(at, name), all[name], 998) && strings.HasPrefix(folded, "list-") {
			c.words(child(at, name), all[name], 998-len(name)-2)
		}
	}
}

// words checks that s can be folded into lines: it is structured, so no word of it can be encoded.
func (c *checker) words(at, s string, most int) {
	for word := range strings.SplitSeq(s, " ") {
		if len(word) > most {
			c.fault(at, notify.FaultTooLong, "keep each word within "+strconv.Itoa(most)+" bytes: a line has 998")
			return
		}
	}
}

// token reports whether name is a header name that every relay takes.
func token(name string) bool {
	return name != "" && strings.Trim(name, letters+digits+"-_") == ""
}

// attachment checks a; ids are the content ids of those before it.
func (c *checker) attachment(at string, a notify.Attachment, ids map[string]bool) {
	if a.Filename == "" {
		c.required(at+"/filename", "give the name under which the file is shown")
	}
	c.line(at+"/filename", a.Filename, 255)
	if a.ContentType != "" && c.line(at+"/content_type", a.ContentType, 255) && !mediaType(a.ContentType) {
		c.invalid(at+"/content_type", "give a media type such as application/pdf; not a multipart, message/partial or message/external-body")
	}
	switch {
	case a.ContentID == "":
	case len(a.ContentID) > 255 || strings.Trim(a.ContentID, letters+digits+"._%+@-") != "":
		c.invalid(at+"/content_id", "give at most 255 letters, digits and . _ % + @ -, as in the HTML after cid:")
	case ids[a.ContentID]:
		c.invalid(at+"/content_id", "give each inline part an id of its own")
	}
	ids[a.ContentID] = true
}

// mediaType reports whether s is the type of one file; a multipart would need a boundary, and may not be base64.
func mediaType(s string) bool {
	kind, _, err := mime.ParseMediaType(s)
	main, sub, _ := strings.Cut(kind, "/")
	whole := kind != "message/partial" && kind != "message/external-body" // the reader would fetch or wait for the rest
	return err == nil && main != "" && sub != "" && main != "multipart" && whole
}
