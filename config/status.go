package config

import (
	"strings"
	"time"
)

// Status is the section of the status store.
type Status struct {
	DSN           Secret        `yaml:"dsn" doc:"Where it is kept: postgres://user:password@host:5432/name, one for all processes. Empty: SQLite, in data_dir/status.db; then run the API in one process only." example:"postgres://laudspeaker:…@db.example.com:5432/laudspeaker"`
	Retention     time.Duration `yaml:"retention" default:"720h" doc:"How long a notification is shown after it was accepted."`
	StorePayload  bool          `yaml:"store_payload" default:"true" doc:"Also keeps what notifications say. false keeps only to whom they went and what became of them; sensitive ones are never kept."`
	ReceiptWindow time.Duration `yaml:"receipt_window" default:"72h" doc:"How long a provider that sends receipts may take to say what became of a message. After that it stays sent, unconfirmed."`
	StuckAfter    time.Duration `yaml:"stuck_after" default:"5m" doc:"How long after its expires_at a notification that has not ended is said to be stuck, and how long after its record was found gone one is said to be lost."`
}

func (s Status) check(fs *Faults) {
	dsn := string(s.DSN)
	fs.unless(dsn == "" || strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://"),
		"status.dsn must be empty (SQLite in data_dir) or begin with postgres://")
	fs.unless(s.Retention >= time.Hour, "status.retention must be 1h or longer, such as 720h")
	fs.unless(s.ReceiptWindow > 0, "status.receipt_window must be longer than 0s, such as 72h")
	fs.unless(s.StuckAfter > 0, "status.stuck_after must be longer than 0s, such as 5m")
}
