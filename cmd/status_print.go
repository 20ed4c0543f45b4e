package cmd

import (
	"fmt"
	"strings"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// lineOf is a notification in one line of a list.
func lineOf(l *notify.Life) string {
	line := fmt.Sprintf("%s  %-5s  %-6s  %s  %s", readable(l.AcceptedAt), shown(l.Channel), shown(l.Lane), shown(l.ID), shown(l.State))
	if recipient := shown(l.Recipient); recipient != "" {
		line += "  " + notify.Clip(recipient, 60)
	}
	if l.Waiting != nil {
		return line + "  waiting " + waitingForPeople(l.Waiting)
	}
	return line + lead("  ", because(l.Gateway, l.Code, l.Reason))
}

// waitingForPeople says for which gateway a notification waits.
func waitingForPeople(w *notify.Waiting) string {
	return fmt.Sprintf("for %s since %s%s", shown(w.Gateway), readable(w.Since), lead(", ", because("", w.Code, w.Reason)))
}

// lifeForPeople is a notification with its timeline.
func lifeForPeople(l *notify.Life) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s, lane %s: %s%s\n", shown(l.ID), shown(l.Channel), shown(l.Lane), shown(l.State), remarks(l))
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&b, "  %-11s %s\n", name, text)
		}
	}
	line("recipient", strings.TrimSpace(shown(l.Recipient)+lead(" ", shown(l.RecipientType))))
	line("reference", shown(l.Reference))
	if l.Tenant != notify.DefaultTenant {
		line("tenant", shown(l.Tenant))
	}
	line("accepted", readable(l.AcceptedAt))
	line("send at", ifAt(l.SendAt))
	line("expires", ifAt(l.ExpiresAt))
	line("next try", ifAt(l.NextAt))
	if l.Waiting != nil {
		line("waiting", waitingForPeople(l.Waiting))
	}
	line("outcome", because(l.Gateway, l.Code, l.Reason))
	line("provider id", shown(l.ProviderID))
	b.WriteString("  timeline\n")
	for i := range l.Timeline {
		e := &l.Timeline[i]
		fmt.Fprintf(&b, "    %s  %s\n", readable(e.At)+e.At.Local().Format(".000"), eventForPeople(e))
		for _, t := range e.Tries {
			fmt.Fprintf(&b, "      %s answered in %d ms: %s%s\n", shown(t.Gateway), t.Millis, shown(t.Verdict), lead(", ", because("", t.Code, t.Reason)))
		}
	}
	return b.String()
}

// remarks are what a state alone does not say.
func remarks(l *notify.Life) string {
	var words []string
	if l.Final {
		words = append(words, "final")
	}
	if l.Simulated {
		words = append(words, "simulated, nothing was sent")
	}
	if l.Expunged {
		words = append(words, "expunged")
	}
	if l.Run > 0 {
		words = append(words, fmt.Sprintf("run %d", l.Run))
	}
	if len(words) == 0 {
		return ""
	}
	return " (" + strings.Join(words, ", ") + ")"
}

// eventForPeople is an event without its time and what it is of.
func eventForPeople(e *notify.Event) string {
	text := shown(e.State)
	if e.Note != "" {
		text = shown(e.Note) + ", still " + text
	}
	if e.Attempt > 0 {
		text += fmt.Sprintf(", attempt %d", e.Attempt)
	}
	if e.Simulated {
		text += ", simulated"
	}
	if e.NextAt != nil {
		text += ", next try " + readable(*e.NextAt)
	}
	text += lead(", ", because(e.Gateway, e.Code, e.Reason)) + came(e.Inbound)
	for _, p := range e.Recipients {
		text += ", " + shown(p.Field) + " " + strings.TrimSpace(shown(string(p.State))+" "+shown(p.Code))
	}
	for _, w := range e.Warnings {
		text += ", " + notify.Clip(shown(w), 200)
	}
	return text
}

// came is what an event says of a text that somebody sent to us.
func came(in *notify.EventInbound) string {
	if in == nil {
		return ""
	}
	text := lead(", from ", shown(in.From)) + lead(" to ", shown(in.To)) + lead(", ", shown(in.Keyword))
	return notify.Clip(text+lead(": ", shown(in.Text)), 600)
}

// because is why something is as it is, in the words of a gateway.
func because(gateway, code, reason string) string {
	text := shown(code)
	if r := shown(reason); r != "" && r != text {
		text = strings.TrimPrefix(text+": "+r, ": ")
	}
	switch g := shown(gateway); {
	case g == "":
	case text == "":
		text = "by " + g
	default:
		text += " (" + g + ")"
	}
	return notify.Clip(text, 600)
}

// lead is text with what comes before it, or nothing.
func lead(before, text string) string {
	if text == "" {
		return ""
	}
	return before + text
}

func ifAt(t *time.Time) string {
	if t == nil {
		return ""
	}
	return readable(*t)
}

// shown is a word of the server's as a terminal may show it.
func shown[T ~string](word T) string { return speakable(string(word)) }
