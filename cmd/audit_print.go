package cmd

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/laudspeaker/laudspeaker/internal/audit"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// missing says in words what an audit's why says.
var missing = map[audit.Why]string{
	audit.NoOutcome:  "its job is done, and no outcome tells what became of it",
	audit.LeftTier:   "it has left its tier of the delay ladder, and is nowhere since",
	audit.NoNextStep: "it was put off, and its next step is nowhere",
	audit.NoNextRun:  "it was redriven, and the next run is nowhere",
	audit.NoRecord:   "the status store knows it, and the topics have no record of it",
	audit.InGap:      "its record was deleted before it was processed",
}

// printFinding writes one line of the audit.
func printFinding(w io.Writer, f audit.Finding) error {
	if f.Range != nil {
		_, err := fmt.Fprintf(w, "%-11s  %s\n", strings.ReplaceAll(string(f.What), "_", " "), rangeOf(&f))
		return err
	}
	text := fmt.Sprintf("%-11s  %s  ", strings.ReplaceAll(string(f.What), "_", " "), f.ID)
	switch f.What {
	case audit.FoundDuplicate:
		text += fmt.Sprintf("a gateway accepted it %d times too often", f.Times)
	case audit.FoundDifference:
		text += fmt.Sprintf("the topics say %s, the status store %s", standing(f.Topics), standing(f.Store))
	default:
		text += fmt.Sprintf("run %d, step %d, %s", f.Run, f.Step, placeOf(f.Where))
	}
	if f.Why != "" {
		text += ": " + missing[f.Why]
	}
	if f.Due != nil {
		text += ", due " + readable(*f.Due)
	}
	_, err := fmt.Fprintln(w, text)
	return err
}

// rangeOf says in words what is to be said of a range of records.
func rangeOf(f *audit.Finding) string {
	r := f.Range
	at := fmt.Sprintf("%s/%d", speakable(r.Topic), r.Partition)
	switch {
	case f.What == audit.FoundVoid && r.Cause == "recreated":
		return fmt.Sprintf("%s: the topic was deleted and created again after its group had come to %d; nobody knows how many records the old topic held beyond it", at, r.From)
	case f.What == audit.FoundVoid:
		return fmt.Sprintf("%s: its group had come to %d, and the partition ends below that: it lost its last records", at, r.From)
	case f.What == audit.FoundUndecodable:
		return fmt.Sprintf("%s from %d to %d: a batch of %s records that nobody can decode; it is a dead letter", at, r.From, r.To-1, thousands(r.Count))
	default:
		return fmt.Sprintf("%s from %d to %d: %s records were deleted before they were processed (%s)", at, r.From, r.To-1, thousands(r.Count), r.Cause)
	}
}

func placeOf(o *notify.Origin) string {
	if o == nil {
		return "its record was never seen"
	}
	return fmt.Sprintf("%s/%d at %d", speakable(o.Topic), o.Partition, o.Offset)
}

func standing(s *audit.Standing) string {
	if s == nil {
		return "nothing"
	}
	return fmt.Sprintf("%s (run %d)", s.State, s.Run)
}

// printReport writes the sum of the audit.
func printReport(w io.Writer, r *audit.Report) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "%s notifications, as of %s%s\n", thousands(r.Notifications), readable(r.At), sinceOf(r))
	line := func(name string, n int64, note string) {
		if n > 0 {
			fmt.Fprintf(t, "  %s\t%s\t%s\n", name, thousands(n), note)
		}
	}
	for _, s := range slices.Sorted(maps.Keys(r.Ended)) {
		note := ""
		if s == notify.StateSent && r.AwaitingReceipt > 0 {
			note = thousands(r.AwaitingReceipt) + " of them await a receipt"
		}
		line(string(s), r.Ended[s], note)
	}
	line("held", r.Held, "for a person to decide: laudspeaker dlq list --reason "+notify.ReasonAmbiguous)
	line("in flight", r.InFlight, "")
	line("waiting", r.Waiting, "")
	line("dead letter", r.DeadLetters, "no event is left that tells more")
	line("faded", r.Unknowable, "done, and older than what the status topic still holds")
	line("lost", r.Lost, "as listed above: Kafka no longer has the record, and no result is known")
	line("unknown", r.Unknown, "as listed above: missing, without proof of a loss")
	line("unaccounted", r.Unaccounted, "as listed above")
	printOpen(t, r)
	if r.Earlier > 0 {
		fmt.Fprintf(t, "%s more were accepted before that, and are left out\n", thousands(r.Earlier))
	}
	if r.MissingRecords > 0 {
		fmt.Fprintf(t, "%s records were deleted before they were processed, in the ranges above; what is known by id of them is lost or unaccounted for\n", thousands(r.MissingRecords))
	}
	if r.VoidPositions > 0 {
		fmt.Fprintf(t, "%s positions of groups mean nothing any more, as listed above\n", thousands(r.VoidPositions))
	}
	if r.Undecodable > 0 {
		fmt.Fprintf(t, "%s records are in batches that nobody can decode; they are dead letters\n", thousands(r.Undecodable))
	}
	if r.Unreadable > 0 {
		fmt.Fprintf(t, "%s records of the status topic could not be read\n", thousands(r.Unreadable))
	}
	fmt.Fprintf(t, "sent again: %s, unaccounted for: %s\n", thousands(r.DuplicatesSent), thousands(r.Unaccounted))
	if r.Differences != nil {
		fmt.Fprintf(t, "differences of the status store: %s\n", thousands(*r.Differences))
	}
	return t.Flush()
}

func sinceOf(r *audit.Report) string {
	if r.Since == nil {
		return ""
	}
	return ", accepted since " + readable(*r.Since)
}

// printOpen writes what is open by lane, and what waits by tier.
func printOpen(w io.Writer, r *audit.Report) {
	for _, l := range r.Lanes {
		fmt.Fprintf(w, "%s, lane %s: %s in flight, %s waiting; the oldest was accepted at %s: %s, %s\n", l.Channel, l.Lane,
			thousands(l.InFlight), thousands(l.Waiting), readable(*l.Oldest.AcceptedAt), l.Oldest.ID, placeOf(l.Oldest.Where))
	}
	for _, t := range r.Tiers {
		fmt.Fprintf(w, "%s: %s waiting, the first due at %s\n", t.Topic, thousands(t.Waiting), readable(t.FirstDue))
	}
}
