package cmd

import (
	"context"
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
		Long:  "Takes back what laudspeaker suppress did. What has ended as suppressed is not sent any more.",
		Example: `  laudspeaker unsuppress --channel email ada@example.com
  laudspeaker unsuppress --channel sms +14155550100`,
	}
	s, f := addSettings(c), addSuppressed(c)
	c.RunE = func(c *cobra.Command, addresses []string) error {
		entries, err := f.entries(addresses)
		if err != nil {
			return err
		}
		var records []control.Record
		for _, e := range entries {
			records = append(records, e.Tombstone())
		}
		return s.onBus(c, func(b *openedBus) error { return b.tellAll(c, "no longer suppressed", f.channel, records) })
	}
	return c
}

func (b *openedBus) tellAll(c *cobra.Command, what, channel string, records []control.Record) error {
	from, err := b.tell(c.Context(), records...)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.OutOrStdout(), "%s on channel %s: %d, in force everywhere by %s, in 1 s\n", what, channel, len(records), clock(from))
	return nil
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
	all, err := b.told(ctx, control.KindSuppress)
	if err != nil {
		return err
	}
	maps.DeleteFunc(all, func(_ string, e control.Entry) bool {
		return f.channel != "" && string(e.Channel) != f.channel || !f.anyTenant && e.Tenant != f.tenant
	})
	for _, name := range slices.Sorted(maps.Keys(all)) {
		e := all[name]
		if asJSON {
			fmt.Fprintf(out, "%s\n", e.Record().Value)
			continue
		}
		shown := strings.TrimPrefix(name, notify.DefaultTenant+"/")
		fmt.Fprintf(out, "%s  %s\n", notify.Clip(shown, 255), since(e))
	}
	if len(all) == 0 && !asJSON {
		fmt.Fprintln(out, "Nobody is suppressed.")
	}
	return nil
}
