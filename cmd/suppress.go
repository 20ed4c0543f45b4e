package cmd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/laudspeaker/laudspeaker/internal/control"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

func newSuppress() *cobra.Command {
	c := &cobra.Command{
		Use:   "suppress ADDRESS…",
		Short: "Send nothing more to a recipient",
		Long: `Keeps everything from the recipients that are named, until laudspeaker unsuppress: their notifications end as suppressed.
An e-mail address counts by its domain in any spelling, and by what is before the @ as it is written. It is written to
Kafka, as laudspeaker pause does.`,
		Example: `  laudspeaker suppress --channel email ada@example.com
  laudspeaker suppress --channel sms +14155550100 --note 'asked by letter'
  laudspeaker suppress --list --channel email`,
	}
	s, f := addSettings(c), addSuppressed(c)
	note := c.Flags().String("note", "", "why, for those who see the list")
	list := c.Flags().Bool("list", false, "show who is suppressed, and suppress nobody")
	asJSON := c.Flags().Bool("json", false, "with --list: one JSON object a line")
	c.RunE = func(c *cobra.Command, addresses []string) error {
		if *list {
			if len(addresses) > 0 {
				return errors.New("--list takes no ADDRESS")
			}
			if f.channel != "" && !notify.Channel(f.channel).Known() {
				return fmt.Errorf("--channel knows %s", channelWords())
			}
			f.anyTenant = !c.Flags().Changed("tenant")
			return s.onBus(c, func(b *openedBus) error { return b.listSuppressed(c.Context(), c.OutOrStdout(), f, *asJSON) })
		}
		entries, err := f.entries(addresses)
		if err != nil {
			return err
		}
		var records []control.Record
		for _, e := range entries {
			e.At, e.By, e.Note = time.Now(), operator(), *note
			records = append(records, e.Record())
		}
		return s.onBus(c, func(b *openedBus) error { return b.tellAll(c, "suppressed", f.channel, records) })
	}
	return c
}

func newUnsuppress() *cobra.Command {
	c := &cobra.Command{
		Use:   "unsuppress ADDRESS…",
		Short: "Send to a recipient again",
		Long: `Takes back every suppression of the recipients: what laudspeaker suppress did, what gateways and receipts said, and opt-outs by
text message. --reason and --sender take back only some of them; laudspeaker suppress --list shows what there is. What has ended
as suppressed is not sent any more. A provider that knows of an opt-out goes on refusing texts until the recipient says START.`,
		Example: `  laudspeaker unsuppress --channel email ada@example.com
  laudspeaker unsuppress --channel sms --reason opted_out --sender +15005550006 +14155550100`,
	}
	s, f := addSettings(c), addSuppressed(c)
	reason := c.Flags().String("reason", "", "only those of this reason: "+strings.Join(suppressionReasons, ", "))
	sender := c.Flags().String("sender", "", "only those of this sender, with --channel sms: a number, a name or a messaging service")
	c.RunE = func(c *cobra.Command, addresses []string) error {
		entries, err := f.entries(addresses)
		switch {
		case err != nil:
			return err
		case *reason != "" && !slices.Contains(suppressionReasons, *reason):
			return fmt.Errorf("--reason knows %s", strings.Join(suppressionReasons, ", "))
		case *sender != "" && notify.Channel(f.channel) != notify.ChannelSMS:
			return fmt.Errorf("--sender goes with --channel sms: a suppression on channel %s holds for all senders", f.channel)
		}
		return s.onBus(c, func(b *openedBus) error {
			records, lifted, err := b.takeBack(c.Context(), entries, *reason, *sender)
			if err != nil {
				return err
			}
			from, err := b.tell(c.Context(), records...)
			if err != nil {
				return err
			}
			printTold(c, "no longer suppressed", f.channel, lifted, from)
			if lifted < len(entries) {
				fmt.Fprintf(c.ErrOrStderr(), "note: %d of %d had no such suppression; laudspeaker suppress --list --channel %s shows what there is\n",
					len(entries)-lifted, len(entries), f.channel)
			}
			return nil
		})
	}
	return c
}

func (b *openedBus) tellAll(c *cobra.Command, what, channel string, records []control.Record) error {
	from, err := b.tell(c.Context(), records...)
	if err != nil {
		return err
	}
	printTold(c, what, channel, len(records), from)
	return nil
}

func printTold(c *cobra.Command, what, channel string, n int, from time.Time) {
	fmt.Fprintf(c.OutOrStdout(), "%s on channel %s: %d, in force everywhere by %s, in 1 s\n", what, channel, n, clock(from))
}

// suppressed are the flags that say whose addresses are meant.
type suppressed struct {
	channel, tenant string
	anyTenant       bool
}

func addSuppressed(c *cobra.Command) *suppressed {
	f := &suppressed{}
	c.Flags().StringVar(&f.channel, "channel", "", channelWords())
	c.Flags().StringVar(&f.tenant, "tenant", notify.DefaultTenant, "whose recipients they are")
	return f
}

// entries spells the addresses as messages have them. A fault names the place of an address, and never the address.
func (f *suppressed) entries(addresses []string) (all []control.Entry, err error) {
	if f.channel == "" {
		return nil, fmt.Errorf("--channel is missing: give one of %s", channelWords())
	}
	if len(addresses) == 0 {
		return nil, errors.New("ADDRESS is missing: give an e-mail address, an E.164 number such as +14155550100, or a device token")
	}
	for i, address := range addresses {
		n := notify.Notification{Tenant: f.tenant, Channel: notify.Channel(f.channel), Recipient: address}
		bare, faults := validate.Recipient(&n)
		if len(faults) > 0 {
			return nil, faulty(faults[0], i, len(addresses))
		}
		all = append(all, control.Suppress(n.Tenant, n.Channel, bare))
	}
	return all, nil
}

func faulty(f notify.Fault, i, n int) error {
	switch f.Pointer {
	case "#/channel":
		return fmt.Errorf("--channel knows %s", channelWords())
	case "#/tenant":
		return fmt.Errorf("--tenant: %s", f.Detail)
	default:
		return fmt.Errorf("ADDRESS %d of %d: %s", i+1, n, f.Detail)
	}
}

func (b *openedBus) listSuppressed(ctx context.Context, out io.Writer, f *suppressed, asJSON bool) error {
	all, err := b.suppressions(ctx)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(e control.Entry) bool {
		return f.channel != "" && string(e.Channel) != f.channel || !f.anyTenant && e.Tenant != f.tenant
	})
	for _, e := range all {
		if asJSON {
			fields, err := suppressionFields(e)
			if err != nil {
				return err
			}
			if err := printJSON(out, fields); err != nil {
				return fmt.Errorf("write an entry: %w", err)
			}
			continue
		}
		shown := strings.TrimPrefix(whom(e), notify.DefaultTenant+"/")
		fmt.Fprintf(out, "%s  %s\n", notify.Clip(shown, 255), since(e, suppressionSource(e)))
	}
	if len(all) == 0 && !asJSON {
		fmt.Fprintln(out, "Nobody is suppressed.")
	}
	return nil
}

// whom names the recipient of a suppression, with tenant and channel.
func whom(e control.Entry) string { return control.Suppress(e.Tenant, e.Channel, e.Address).Name() }

// suppressionFields returns the JSON object of e: the fields of the record, and what its key says.
func suppressionFields(e control.Entry) (map[string]any, error) {
	fields := map[string]any{}
	if err := json.Unmarshal(e.Record().Value, &fields); err != nil {
		return nil, fmt.Errorf("read an entry: %w", err)
	}
	fields["tenant"], fields["channel"], fields["address"], fields["scope"] = e.Tenant, e.Channel, e.Address, "all"
	if e.Scope != "" {
		fields["scope"], fields["sender"] = "sender", e.Scope
	}
	if e.Kind == control.KindSuppress && e.Reason == "" {
		fields["reason"] = manual
	}
	return fields, nil
}

// manual is the reason of a suppression that a person has decided.
const manual = "manual"

// suppressionReasons are the reasons that --reason knows.
var suppressionReasons = []string{manual, notify.ReasonOptedOut, notify.ReasonRecipientGone, notify.ReasonBadRecipient}

// suppressions reads those that are in force, by recipient and then by reason and sender.
func (b *openedBus) suppressions(ctx context.Context) ([]control.Entry, error) {
	byKind, err := b.toldByKind(ctx, control.KindSuppress, control.KindSuppression)
	if err != nil {
		return nil, err
	}
	all := slices.AppendSeq(slices.Collect(maps.Values(byKind[control.KindSuppress])), maps.Values(byKind[control.KindSuppression]))
	slices.SortFunc(all, func(a, b control.Entry) int {
		return cmp.Or(strings.Compare(whom(a), whom(b)), strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.Name(), b.Name()))
	})
	return all, nil
}

// chosen reports whether e is one of the entries that a command takes back: reason and sender are empty for all.
func chosen(e control.Entry, reason, sender string) bool {
	own := e.Reason
	if e.Kind == control.KindSuppress {
		own = manual // whatever the reason of an earlier version was
	}
	return (reason == "" || own == reason) && (sender == "" || e.Scope == sender)
}

// takeBack returns the tombstones of those entries of the addresses that reason and sender choose, and of how many addresses
// such an entry is in force.
func (b *openedBus) takeBack(ctx context.Context, addresses []control.Entry, reason, sender string) (records []control.Record, lifted int, err error) {
	all, err := b.suppressions(ctx)
	if err != nil {
		return nil, 0, err
	}
	lifts := map[string]bool{} // by recipient: whether an entry is taken back
	for _, e := range addresses {
		lifts[whom(e)] = false
		if chosen(e, reason, sender) { // also where there is none: the command is then as good as repeated
			records = append(records, e.Tombstone())
		}
	}
	for _, e := range all {
		if _, named := lifts[whom(e)]; !named || !chosen(e, reason, sender) {
			continue
		}
		lifts[whom(e)] = true
		if e.Kind == control.KindSuppression {
			records = append(records, e.Tombstone())
		}
	}
	for _, e := range addresses {
		if lifts[whom(e)] {
			lifted++
		}
	}
	return records, lifted, nil
}
