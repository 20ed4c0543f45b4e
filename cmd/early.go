package cmd

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/control"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/receipts"
)

// keepEarly lets the desk keep early receipts on the control topic. The process that fills the status store applies them.
func (p *process) keepEarly(desk *receipts.Handler, on settler, leads func() bool, log *zap.Logger) *receipts.Early {
	early := receipts.NewEarly(receipts.EarlyConfig{
		Log: keptReceipts{on}, Leads: leads, Logger: log, KeepFor: control.EarlyFor, MaxIDBytes: control.ReceiptIDBytes,
		Apply: func(ctx context.Context, k receipts.KeptReceipt) error {
			ctx, cancel := context.WithTimeout(ctx, applyFor)
			defer cancel()
			return desk.Apply(ctx, k.Gateway, k.Report)
		},
	})
	desk.Keeper = early
	for name := range desk.Readers {
		p.gauge("laudspeaker_receipts_kept", "Receipts that came before their attempt was known and are kept until it is, of all processes.",
			prometheus.Labels{"gateway": name}, func() float64 { return float64(early.Len(name)) })
	}
	return early
}

// applyFor is how long applying one kept receipt may take.
const applyFor = 10 * time.Second

// hearEarly gives early what a record of the control topic says of it.
func hearEarly(early *receipts.Early) func(*kafka.Record) {
	return func(r *kafka.Record) {
		switch e, set, err := control.Decode(r.Key, r.Value, r.Timestamp); {
		case err != nil || e.Kind != control.KindReceipt: // the state of the topic counts what it does not understand
		case set:
			early.Set(receipts.KeptReceipt{Gateway: e.Gateway, ID: e.ID, Report: e.Report, Until: e.ExpiresAt})
		default:
			early.Unset(e.Gateway, e.ID)
		}
	}
}

// keptReceipts is the control topic as the log of kept receipts.
type keptReceipts struct{ settler }

// Add is that of [receipts.Log].
func (k keptReceipts) Add(ctx context.Context, r receipts.KeptReceipt) error {
	e := control.Receipt(r.Gateway, r.ID, r.Report, time.Now())
	e.ExpiresAt = r.Until
	return k.publish(ctx, e.Record())
}

// Remove is that of [receipts.Log].
func (k keptReceipts) Remove(ctx context.Context, r receipts.KeptReceipt) error {
	return k.publish(ctx, control.Receipt(r.Gateway, r.ID, r.Report, time.Now()).Tombstone())
}
