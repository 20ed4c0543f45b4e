package cmd

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func newDLQShow() *cobra.Command {
	c := &cobra.Command{
		Use:   "show ID",
		Short: "Show a dead letter whole: why, headers, value",
		Long: `Shows the dead letters of a notification, one for each run that ended in one, redriven or not. What the notification says is
shown too, unless it is marked as sensitive.`,
		Example: `  laudspeaker dlq show 0190163d-8694-739b-aea5-966c26f8ad91
  laudspeaker dlq show 0190163d-8694-739b-aea5-966c26f8ad91 --json`,
		Args: cobra.ExactArgs(1),
	}
	s := addSettings(c)
	channels := c.Flags().StringSlice("channel", nil, "email, sms or push; repeated or separated by commas (default: all)")
	asJSON := c.Flags().Bool("json", false, "one JSON object a letter")
	c.RunE = func(c *cobra.Command, ids []string) error {
		filter, err := (&letterFlags{channels: *channels}).filter(ids, time.Now())
		if err != nil {
			return err
		}
		cfg, err := s.load()
		if err != nil {
			return err
		}
		_, letters, end, err := openDeadLetters(c.Context(), cfg, c.ErrOrStderr())
		if err != nil {
			return err
		}
		defer end()
		shown := 0
		err = eachLetter(c.Context(), letters, filter, func(l *dispatcher.Letter, redriven bool) error {
			shown++
			if *asJSON {
				return printJSON(c.OutOrStdout(), describeWhole(l, letters.Describe(l), redriven))
			}
			return printWhole(c.OutOrStdout(), l, letters.Describe(l).ExpiresAt, redriven)
		})
		if err == nil && shown == 0 {
			return fmt.Errorf("there is no dead letter with this id: laudspeaker dlq list shows what there is")
		}
		return err
	}
	return c
}

// wholeJSON is a letter with all that it holds. Exactly one of the last three is there.
type wholeJSON struct {
	notify.Letter
	Redriven bool              `json:"redriven"`
	Headers  map[string]string `json:"headers"`
	Value    json.RawMessage   `json:"value,omitempty"`        // when it is JSON
	Raw      string            `json:"value_base64,omitempty"` // when it is not
	Withheld string            `json:"withheld,omitempty"`     // why it is not shown
}

func describeWhole(l *dispatcher.Letter, shown notify.Letter, redriven bool) wholeJSON {
	j := wholeJSON{Letter: shown, Redriven: redriven, Headers: headersByName(l)}
	switch j.Withheld = withheld(l); {
	case j.Withheld != "":
	case json.Valid(l.Value) && utf8.Valid(l.Value):
		j.Value = l.Value
	default:
		j.Raw = base64.StdEncoding.EncodeToString(l.Value)
	}
	return j
}

func headersByName(l *dispatcher.Letter) map[string]string {
	all := map[string]string{}
	for _, h := range l.Headers { // of several the last counts
		all[strings.ToValidUTF8(h.Key, "\uFFFD")] = strings.ToValidUTF8(string(h.Value), "\uFFFD")
	}
	return all
}

// withheld is why a letter's value is not shown; empty when it is. What cannot be read might be marked as sensitive.
func withheld(l *dispatcher.Letter) string {
	switch {
	case l.ValueMissing():
		return "the value was too large for a dead letter and stayed where the job was"
	case l.Value == nil:
		return "the record has no value"
	case l.Reason == notify.ReasonUndecodableBatch:
		return "the value is a record batch that cannot be decoded"
	case l.Legible && l.Notification.Sensitive:
		return "the notification is marked as sensitive"
	case !l.Legible && bytes.Contains(l.Value, []byte("sensitive")):
		return "the value cannot be read whole, and may be marked as sensitive"
	default:
		return ""
	}
}

func printWhole(w io.Writer, l *dispatcher.Letter, expires *time.Time, redriven bool) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s, lane %s, run %d\n", l.ID, l.Channel, l.Lane, l.Run)
	line := func(name, text string) { fmt.Fprintf(&b, "  %-9s %s\n", name, text) }
	line("why", why(l))
	line("ended", fmt.Sprintf("%s, %s, attempts %d", l.State(), readable(l.Died), l.Attempt))
	if expires != nil {
		line("expires", readable(*expires))
	}
	line("is at", fmt.Sprintf("%s, partition %d, offset %d", l.Topic, l.Partition, l.Offset))
	if o := l.Origin; o != nil {
		line("came from", fmt.Sprintf("%s, partition %d, offset %d", speakable(o.Topic), o.Partition, o.Offset))
	}
	line("redriven", map[bool]string{true: "yes", false: "no"}[redriven])
	b.WriteString("headers\n")
	for _, h := range l.Headers {
		fmt.Fprintf(&b, "  %s: %s\n", speakable(h.Key), speakable(string(h.Value)))
	}
	b.WriteString("value\n")
	b.WriteString(valueForPeople(l) + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func valueForPeople(l *dispatcher.Letter) string {
	if reason := withheld(l); reason != "" {
		return "  not shown: " + reason
	}
	var pretty bytes.Buffer
	if json.Indent(&pretty, l.Value, "  ", "  ") != nil {
		return "  " + speakable(string(l.Value))
	}
	lines := strings.Split(pretty.String(), "\n")
	for i := range lines {
		lines[i] = speakable(lines[i])
	}
	return "  " + strings.Join(lines, "\n")
}

// speakable is s as a terminal may show it: what would steer the terminal is spelt out.
func speakable(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r):
			b.WriteString(strings.Trim(strconv.QuoteToASCII(string(r)), `"`))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
