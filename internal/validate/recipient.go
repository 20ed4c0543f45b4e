package validate

import "github.com/laudspeaker/laudspeaker/internal/notify"

// Recipient gives a channel's recipient in the spelling by which recipients are compared: [notify.Message]'s Address. ok is
// false for what cannot be a recipient of the channel. Of push everything can, as it is.
func Recipient(ch notify.Channel, recipient string) (address string, ok bool) {
	c := &checker{}
	switch ch {
	case notify.ChannelEmail:
		_, address = c.mailbox("#/recipient", recipient)
	case notify.ChannelSMS:
		address = c.phone("#/recipient", recipient)
	case notify.ChannelPush:
		address = recipient
	}
	return address, address != "" && len(c.faults) == 0
}
