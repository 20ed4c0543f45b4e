package status

import (
	"testing"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
)

// BenchmarkReading: what a notification costs the recorder before it comes to the store: its job and its outcome.
func BenchmarkReading(b *testing.B) {
	job := jobRecord(`{"id":"`+jobID+`","tenant":"default","channel":"sms","recipient":"+14155550100","payload":{"body":"Your code is 123456"},`+
		`"lane":"normal","expires_at":"2026-03-05T05:06:06.5Z"}`, "ls-schema", "1", "ls-id", jobID, "ls-lane", "normal", "ls-accepted-at", "2026-03-04T05:06:06.5Z")
	outcome := &kafka.Record{Topic: events, Timestamp: written, Value: []byte(event(3))}
	b.ReportAllocs()
	for b.Loop() {
		reading.Read(job)
		reading.Read(outcome)
	}
}
