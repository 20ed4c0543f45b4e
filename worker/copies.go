package worker

import (
	netmail "net/mail"
	"strconv"
	"strings"
)

// omitSuppressed leaves suppressed cc and bcc addresses out of j's message, and notes each as a warning. The other copies keep
// their place in the list: reasons name them by it. omitSuppressed does not check the recipient itself.
func (w *Worker) omitSuppressed(j *job) {
	if j.message.Email == nil {
		return
	}
	omit := func(field string, boxes []string) {
		for i, box := range boxes {
			if box != "" && w.cfg.Control.Suppressed(j.tenant, w.cfg.Channel, bare(box)) {
				boxes[i] = ""
				j.omitted = append(j.omitted, field+"["+strconv.Itoa(i)+"] is suppressed and was left out")
			}
		}
	}
	omit("cc", j.message.Email.CC)
	omit("bcc", j.message.Email.BCC)
}

// bare is the address of a valid mailbox as suppressions know it: without its name, and the local part quoted if it must be.
func bare(mailbox string) string {
	a, err := netmail.ParseAddress(mailbox)
	if err != nil {
		return mailbox
	}
	return strings.Trim((&netmail.Address{Address: a.Address}).String(), "<>")
}

// warningsOf are what the event of this step says: a run's first event says what was ignored, the others would only repeat it.
func warningsOf(j *job) []string {
	var all []string
	if j.step == 0 {
		all = append(all, j.warnings...)
	}
	return append(all, j.omitted...)
}
