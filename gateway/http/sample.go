package http

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// try renders a sample message of each channel. It is a fault if none can be rendered. The gateway does not serve a channel
// whose sample cannot be rendered.
func (s *Sender) try(at string) []error {
	var faults []error
	s.serves = map[notify.Channel]bool{}
	var why []string
	for _, m := range s.samples() {
		if _, refused := s.render(data(m, s.cfg.From, m.ExpiresAt.Add(-time.Hour))); refused == nil {
			s.serves[m.Channel] = true
		} else {
			why = append(why, string(m.Channel)+": "+strings.TrimPrefix(refused.Reason, notify.ReasonInvalid+": "))
		}
	}
	if len(s.serves) == 0 {
		faults = append(faults, fmt.Errorf("%s: the templates can render no message; docs/gateway-http.md lists what they have (%s)", at, strings.Join(why, "; ")))
	}
	if _, refused := s.checkCall(); refused != nil && s.cfg.Check.URL != "" {
		faults = append(faults, fmt.Errorf("%s.check.url: there is no message in a check; write the address out, but for {{secret}}", at))
	}
	return faults
}

// Metadata and data have the names that the templates use: callers may choose any names.
var askedFor = regexp.MustCompile(`\.(?:metadata|data)\.(\w+)`)

func (s *Sender) samples() []*notify.Message {
	texts := []string{s.cfg.URL, s.cfg.Body}
	for _, value := range s.cfg.Headers {
		texts = append(texts, value)
	}
	names := map[string]string{}
	for _, match := range askedFor.FindAllStringSubmatch(strings.Join(texts, "\n"), -1) {
		names[match[1]] = "a@example.com"
	}
	message := func(c notify.Channel, address, kind string) *notify.Message {
		expires := time.Unix(2_000_000_000, 0)
		return &notify.Message{Address: address, Notification: notify.Notification{
			ID: "0190163d-8694-739b-aea5-966c26f8ad91", Tenant: notify.DefaultTenant, Channel: c, Recipient: address, RecipientType: kind,
			Lane: notify.LaneNormal, Reference: "a", Metadata: names, ExpiresAt: &expires,
		}}
	}
	email, sms := message(notify.ChannelEmail, "ada@example.com", ""), message(notify.ChannelSMS, "+15550100000", "")
	push := message(notify.ChannelPush, "a", slices.Concat(s.cfg.RecipientTypes, []string{notify.RecipientFCM})[0])
	email.Email = &notify.Email{
		From: "Acme <no-reply@acme.example>", ReplyTo: []string{"a@example.com"}, CC: []string{"b@example.com"}, BCC: []string{"c@example.com"},
		Subject: "a", Text: "a", HTML: "a", Headers: map[string]string{"X-A": "a"},
		Attachments: []notify.Attachment{{Filename: "a.txt", Content: []byte("a"), ContentID: "a"}},
	}
	sms.SMS = &notify.SMS{Body: "a", From: "+15550100001", MediaURLs: []string{"https://a.example/1.png"}}
	push.Push = &notify.Push{Title: "a", Body: "a", Image: "https://a.example/1.png", Data: names, CollapseKey: "a", Priority: "high"}
	return []*notify.Message{email, sms, push}
}
