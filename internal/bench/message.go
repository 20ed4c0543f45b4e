package bench

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// sender is the address from which e-mail comes.
const sender = "bench@example.com"

// project is the Firebase project of the sink.
const project = "bench"

// recipients is how many different recipients, and so ordering keys, the messages have.
const recipients = 10_000

// marker goes before the number of a message, in a text that every gateway passes on.
const marker = "bench-"

// message is the notification with that number, padded by size bytes of text.
type message struct {
	channel string
	number  int
	size    int
}

func (m message) title() string { return marker + strconv.Itoa(m.number) }

func (m message) text() string { return strings.Repeat("Thank you. ", m.size/11+1)[:m.size] }

func (m message) recipient() string {
	n := m.number % recipients
	switch m.channel {
	case "email":
		return fmt.Sprintf("user%d@example.com", n)
	case "sms":
		return fmt.Sprintf("+1415555%04d", n)
	default:
		return fmt.Sprintf("device-%d-of-the-benchmark", n)
	}
}

// append adds the notification in JSON. Nothing in it needs to be escaped.
func (m message) append(b []byte) []byte {
	var payload string
	switch m.channel {
	case "email":
		payload = `{"subject":"` + m.title() + `","text":"` + m.text() + `"}`
	case "sms":
		payload = `{"body":"` + m.title() + " " + m.text() + `"}`
	default:
		payload = `{"title":"` + m.title() + `","body":"` + m.text() + `"}`
	}
	return append(b, `{"channel":"`+m.channel+`","recipient":"`+m.recipient()+`","payload":`+payload+`}`...)
}

// appendBatch adds the messages from m on, as the body of a request for a batch.
func (m message) appendBatch(b []byte, count int) []byte {
	b = append(b, `{"notifications":[`...)
	for i := range count {
		if i > 0 {
			b = append(b, ',')
		}
		next := m
		next.number += i
		b = next.append(b)
	}
	return append(b, `]}`...)
}

// numberIn returns the number of the message that content holds, -1 where there is none.
func numberIn(content []byte) int {
	_, after, found := bytes.Cut(content, []byte(marker))
	if !found {
		return -1
	}
	n, digits := 0, 0
	for ; digits < len(after) && after[digits] >= '0' && after[digits] <= '9'; digits++ {
		n = 10*n + int(after[digits]-'0')
	}
	if digits == 0 || digits > 9 {
		return -1
	}
	return n
}
