package deadletters

import (
	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Describe returns the letter as the API and the command line show it. The recipient is masked or left out as Recipients says.
func (s *Scanner) Describe(l *dispatcher.Letter) notify.Letter {
	described := notify.Letter{
		ID: l.ID, Channel: l.Channel, Lane: l.Lane, Run: l.Run, Step: l.Step, Attempt: l.Attempt, State: l.State(),
		Reason: l.Reason, Code: l.Code, Gateway: l.Gateway, DiedAt: l.Died.UTC(), Recipient: s.recipient(l), Bytes: len(l.Value),
		Letter: locationOf(l), Origin: l.Origin,
	}
	if at, ok := l.Expires(s.Lifetimes); ok {
		at = at.UTC()
		described.ExpiresAt = &at
	}
	if l.Notification != nil {
		described.Tenant, described.Reference = l.Notification.Tenant, l.Notification.Reference
	}
	return described
}

// locationOf returns the topic, partition and offset of the letter itself.
func locationOf(l *dispatcher.Letter) notify.Origin {
	return notify.Origin{Topic: l.Topic, Partition: l.Partition, Offset: l.Offset}
}

// recipient returns the letter's recipient in the form that may be shown.
func (s *Scanner) recipient(l *dispatcher.Letter) string {
	switch {
	case l.Notification == nil || s.Recipients == notify.RecipientsNone:
		return ""
	case s.Recipients == notify.RecipientsFull:
		return notify.Clip(l.Notification.Recipient, 255)
	default:
		return notify.Mask(l.Notification.Recipient)
	}
}
