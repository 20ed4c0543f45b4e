package config

import "time"

// Status is the section of the status store.
type Status struct {
	ReceiptWindow time.Duration `yaml:"receipt_window" default:"72h" doc:"How long a provider that sends receipts may take to say what became of a message. After that it stays sent, unconfirmed."`
	StuckAfter    time.Duration `yaml:"stuck_after" default:"5m" doc:"How long after its expires_at a notification that has not ended is said to be stuck."`
}

func (s Status) check(fs *Faults) {
	fs.unless(s.ReceiptWindow > 0, "status.receipt_window must be longer than 0s, such as 72h")
	fs.unless(s.StuckAfter > 0, "status.stuck_after must be longer than 0s, such as 5m")
}
