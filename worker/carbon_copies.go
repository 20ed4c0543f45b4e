package worker

import (
	netmail "net/mail"
	"strconv"
	"strings"
)

// omitSuppressedCopies removes suppressed cc and bcc addresses from j's message and adds a warning for each. The other addresses
// keep their position in the list, as reasons refer to it. It does not check the recipient itself.
func (w *Worker) omitSuppressedCopies(j *job) {
	if j.message.Email == nil {
		return
	}
	omit := func(field string, boxes []string) {
		for i, box := range boxes {
			if box != "" && w.cfg.Control.Suppressed(j.tenant, w.cfg.Channel, bareAddress(box)) {
				boxes[i] = ""
				j.omittedCopies = append(j.omittedCopies, field+"["+strconv.Itoa(i)+"] is suppressed and was left out")
			}
		}
	}
	omit("cc", j.message.Email.CC)
	omit("bcc", j.message.Email.BCC)
}

// bareAddress returns the address of a valid mailbox in the form that suppressions use: without the display name, and with the
// local part quoted if it must be.
func bareAddress(mailbox string) string {
	a, err := netmail.ParseAddress(mailbox)
	if err != nil {
		return mailbox
	}
	return strings.Trim((&netmail.Address{Address: a.Address}).String(), "<>")
}

// eventWarnings returns the warnings for the event of j's step. Warnings about the notification itself are only in the first
// event of a run.
func eventWarnings(j *job) []string {
	var all []string
	if j.step == 0 {
		all = append(all, j.warnings...)
	}
	return append(all, j.omittedCopies...)
}
