package dispatcher

import (
	"fmt"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Tell gives the record of an event that no job causes: a receipt, or that something is stuck or closed. It is no record of a
// worker's ledger, and lies where its id hashes to.
func (d Desk) Tell(e notify.Event) (kafka.Message, error) { return told(d.Topics.Status(), e) }

// apart gives an outcome as such a record.
func (d Desk) apart(o *kafka.Outcome) kafka.Message {
	return kafka.Message{Topic: d.Topics.Status(), Partition: kafka.Hashed, Key: o.Key, Value: o.Value}
}

func told(topic string, e notify.Event) (kafka.Message, error) {
	bound(&e)
	e.Seal()
	value, err := e.Encode()
	if err != nil {
		return kafka.Message{}, fmt.Errorf("encode the event: %w", err)
	}
	return kafka.Message{Topic: topic, Partition: kafka.Hashed, Key: []byte(e.NotificationID), Value: value}, nil
}
