package gatewaytest

import (
	"fmt"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

var marks = regexp.MustCompile(`gwmark(\d{6})x`)

// Mark returns a text that identifies message n in the data of a provider.
func Mark(n int) string { return fmt.Sprintf("gwmark%06dx", n) }

// Number returns the n of the first mark in text.
func Number(text string) (int, bool) {
	m := marks.FindStringSubmatch(text)
	if m == nil {
		return 0, false
	}
	n, err := strconv.Atoi(m[1])
	return n, err == nil
}

// Email returns a message of channel email.
func Email(n int) *notify.Message {
	to := fmt.Sprintf("gwperson%06d@example.com", n)
	m := message(notify.ChannelEmail, to, n)
	m.Recipient = "Gwname Gwsurname <" + to + ">"
	m.Email = &notify.Email{
		From:    "Acme <no-reply@acme.example>",
		CC:      []string{fmt.Sprintf("gwcopy%06d@example.com", n)},
		BCC:     []string{fmt.Sprintf("gwblind%06d@example.com", n)},
		Subject: "Gwsubject " + Mark(n),
		Text:    "gwsecretbody " + Mark(n),
	}
	return m
}

// SMS returns a message of channel sms.
func SMS(n int) *notify.Message {
	m := message(notify.ChannelSMS, fmt.Sprintf("+1555%07d", n), n)
	m.SMS = &notify.SMS{Body: "gwsecretbody " + Mark(n)}
	return m
}

// Push returns a message of channel push to a device token.
func Push(n int) *notify.Message {
	m := message(notify.ChannelPush, fmt.Sprintf("gwtoken%06d:APA91b", n), n)
	m.RecipientType = notify.RecipientFCM
	m.Push = &notify.Push{Title: "Gwtitle " + Mark(n), Body: "gwsecretbody " + Mark(n), Data: map[string]string{"k": "gwsecretdata"}}
	return m
}

func message(c notify.Channel, recipient string, n int) *notify.Message {
	expires := time.Now().Add(time.Hour)
	return &notify.Message{
		Notification: notify.Notification{
			ID: notify.DerivedID("gatewaytest", strconv.Itoa(n)), Tenant: notify.DefaultTenant, Channel: c,
			Recipient: recipient, Lane: notify.LaneNormal, ExpiresAt: &expires,
		},
		Address: recipient,
	}
}

// private returns the texts of m that must not show: the recipients, and the payload word by word.
func private(m *notify.Message) []string {
	p := []string{m.Recipient, m.Address, "gwsecret", "gwmark"}
	switch {
	case m.Email != nil:
		p = append(append(append(p, m.Email.Subject, m.Email.Text, "gwperson", "gwcopy", "gwblind", "Gwname", "Gwsubject"), m.Email.CC...), m.Email.BCC...)
	case m.SMS != nil:
		p = append(p, m.SMS.Body)
	case m.Push != nil:
		p = append(p, m.Push.Title, m.Push.Body, "Gwtitle", "gwtoken")
	}
	return p
}

// deliveries returns how often the provider has accepted each message.
func (s Suite[F]) deliveries(t testing.TB, f F) map[int]int {
	count := map[int]int{}
	for _, text := range s.Delivered(f) {
		n, ok := Number(text)
		require.True(t, ok, "the provider got a message without its mark")
		count[n]++
	}
	return count
}
