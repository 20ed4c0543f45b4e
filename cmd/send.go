package cmd

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func newSend() *cobra.Command {
	c := &cobra.Command{
		Use:   "send",
		Short: "Submit one notification",
		Long: `Submits one notification to a running server, which accepts it once it is durable in Kafka. The same over HTTP is
POST /v1/notifications.`,
		Example: `  laudspeaker send email --to ada@example.com --subject Hello --text 'It works.'
  laudspeaker send sms --to +14155550100 --body 'Your code is 123456'
  laudspeaker send push --to DEVICE_TOKEN --title Hello --body 'It works.'`,
	}
	c.AddCommand(newSendEmail(), newSendSMS(), newSendPush())
	return c
}

// submission are the flags that all channels share.
type submission struct {
	*client
	n         notify.Notification
	expiresIn time.Duration
}

func addSubmission(c *cobra.Command, channel notify.Channel, to string) *submission {
	s := &submission{client: addClient(c)}
	s.n.Channel = channel
	f := c.Flags()
	f.StringVar(&s.n.Recipient, "to", "", to+" (required)")
	f.StringVar(&s.n.ID, "id", "", "UUID of the notification; one is made when absent. Repeat with the same id after an unclear answer")
	f.StringVar(&s.n.Reference, "reference", "", "your own word for it")
	f.StringVar(&s.n.OrderingKey, "ordering-key", "", "notifications with the same key keep their order (default: the recipient)")
	f.BoolVar(&s.n.Sensitive, "sensitive", false, "what it says is kept nowhere but in Kafka, and shown nowhere: for one-time passwords and the like")
	f.DurationVar(&s.expiresIn, "expires-in", 0, "how long it is worth delivering, such as 1h (default: the server's)")
	_ = c.MarkFlagRequired("to") // fails only for a flag that does not exist
	c.Args = cobra.NoArgs
	return s
}

// submit sends the notification with its payload and prints what became of it.
func (s *submission) submit(c *cobra.Command, payload any) error {
	encoded, err := json.Marshal(payload)
	if err != nil {
		return fmt.Errorf("encode the payload: %w", err)
	}
	s.n.Payload = encoded
	if s.expiresIn > 0 {
		at := time.Now().Add(s.expiresIn).UTC()
		s.n.ExpiresAt = &at
	}
	var accepted struct {
		ID        string       `json:"id"`
		State     notify.State `json:"state"`
		ExpiresAt time.Time    `json:"expires_at"`
		Warnings  []string     `json:"warnings"`
	}
	if err := s.call(c.Context(), http.MethodPost, "/v1/notifications", &s.n, &accepted); err != nil {
		return err
	}
	fmt.Fprintf(c.OutOrStdout(), "%s %s\n", accepted.ID, accepted.State)
	for _, w := range accepted.Warnings {
		fmt.Fprintf(c.ErrOrStderr(), "note: %s\n", w)
	}
	return nil
}

func newSendEmail() *cobra.Command {
	c := &cobra.Command{
		Use:   "email",
		Short: "Submit an e-mail",
		Example: `  laudspeaker send email --to ada@example.com --subject Hello --text 'It works.'
  laudspeaker send email --to 'Ada <ada@example.com>' --from 'Acme <no-reply@acme.example>' --subject Invoice \
      --text 'Here it is.' --html '<p>Here it is.</p>' --attach invoice.pdf`,
	}
	s := addSubmission(c, notify.ChannelEmail, "mailbox of the recipient")
	var mail notify.Email
	var files []string
	f := c.Flags()
	f.StringVar(&mail.From, "from", "", "sender (default: the gateway's)")
	f.StringVar(&mail.Subject, "subject", "", "subject")
	f.StringVar(&mail.Text, "text", "", "body as text")
	f.StringVar(&mail.HTML, "html", "", "body as HTML")
	f.StringArrayVar(&mail.CC, "cc", nil, "mailbox of a copy; may be repeated")
	f.StringArrayVar(&mail.BCC, "bcc", nil, "mailbox of a blind copy; may be repeated")
	f.StringArrayVar(&mail.ReplyTo, "reply-to", nil, "mailbox for answers; may be repeated")
	f.StringToStringVar(&mail.Headers, "header", nil, "X-… or List-… header, name=value; may be repeated")
	f.StringArrayVar(&files, "attach", nil, "file to attach; may be repeated")
	c.RunE = func(c *cobra.Command, _ []string) error {
		for _, path := range files {
			content, err := os.ReadFile(path)
			if err != nil {
				return fmt.Errorf("--attach: %w", err)
			}
			mail.Attachments = append(mail.Attachments, notify.Attachment{
				Filename: filepath.Base(path), ContentType: mime.TypeByExtension(filepath.Ext(path)), Content: content,
			})
		}
		return s.submit(c, &mail)
	}
	return c
}

func newSendSMS() *cobra.Command {
	c := &cobra.Command{
		Use:     "sms",
		Short:   "Submit a text message",
		Example: `  laudspeaker send sms --to +14155550100 --body 'Your code is 123456' --expires-in 5m`,
	}
	s := addSubmission(c, notify.ChannelSMS, "number of the recipient, E.164 with its plus")
	var sms notify.SMS
	c.Flags().StringVar(&sms.From, "from", "", "sender (default: the gateway's)")
	c.Flags().StringVar(&sms.Body, "body", "", "text")
	c.Flags().StringArrayVar(&sms.MediaURLs, "media-url", nil, "https URL of a picture (MMS); may be repeated")
	c.RunE = func(c *cobra.Command, _ []string) error { return s.submit(c, &sms) }
	return c
}

func newSendPush() *cobra.Command {
	c := &cobra.Command{
		Use:   "push",
		Short: "Submit a push message",
		Example: `  laudspeaker send push --to DEVICE_TOKEN --title Hello --body 'It works.' --data order=42
  laudspeaker send push --type topic --to news --title Hello --body 'It works.'
  laudspeaker send push --type apns --to HEX_DEVICE_TOKEN --title Hello --body 'It works.'`,
	}
	s := addSubmission(c, notify.ChannelPush, "device token, topic or condition")
	var push notify.Push
	f := c.Flags()
	f.StringVar(&s.n.RecipientType, "type", "", "what the recipient is: fcm (a registration token, the default), apns (a device token of Apple's), topic or condition")
	f.StringVar(&push.Title, "title", "", "title")
	f.StringVar(&push.Body, "body", "", "text")
	f.StringVar(&push.Image, "image", "", "https URL of a picture")
	f.StringVar(&push.CollapseKey, "collapse-key", "", "a later message with the same key replaces this one on the device")
	f.StringVar(&push.Priority, "priority", "", "high or normal")
	f.StringToStringVar(&push.Data, "data", nil, "key=value for the app; may be repeated")
	c.RunE = func(c *cobra.Command, _ []string) error { return s.submit(c, &push) }
	return c
}
