package deadletters

import (
	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Describe is l as it is shown.
func (d *Letters) Describe(l *dispatcher.Letter) notify.Letter {
	shown := notify.Letter{
		ID: l.ID, Channel: l.Channel, Lane: l.Lane, Run: l.Run, Step: l.Step, Attempt: l.Attempt, State: l.State(),
		Reason: l.Reason, Code: l.Code, Gateway: l.Gateway, DiedAt: l.Died.UTC(), Recipient: d.recipient(l), Bytes: len(l.Value),
		Letter: placeIn(l), Origin: l.Origin,
	}
	if at, ok := l.Expires(d.Lifetimes); ok {
		at = at.UTC()
		shown.ExpiresAt = &at
	}
	if l.Notification != nil {
		shown.Tenant, shown.Reference = l.Notification.Tenant, l.Notification.Reference
	}
	return shown
}

// placeIn is where l is.
func placeIn(l *dispatcher.Letter) notify.Origin {
	return notify.Origin{Topic: l.Topic, Partition: l.Partition, Offset: l.Offset}
}

// recipient is what may be shown of l's.
func (d *Letters) recipient(l *dispatcher.Letter) string {
	switch {
	case l.Notification == nil || d.Recipients == notify.RecipientsNone:
		return ""
	case d.Recipients == notify.RecipientsFull:
		return notify.Clip(l.Notification.Recipient, 255)
	default:
		return notify.Mask(l.Notification.Recipient)
	}
}
