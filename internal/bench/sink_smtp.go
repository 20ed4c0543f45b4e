package bench

import (
	"bufio"
	"bytes"
	"net"
)

// relay serves SMTP until the listener is closed. It takes every sender and recipient, and offers pipelining (RFC 2920).
func (t *target) relay(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go t.dialogue(conn)
	}
}

func (t *target) dialogue(conn net.Conn) {
	defer conn.Close()
	d := &dialogue{target: t, r: bufio.NewReaderSize(conn, 64<<10), w: bufio.NewWriterSize(conn, 4<<10)}
	d.reply("220 bench.example.com ESMTP")
	for d.flush() == nil {
		line, err := d.r.ReadSlice('\n')
		if err != nil || !d.command(line) {
			_ = d.w.Flush() // the client is told why, if it still listens
			return
		}
	}
}

type dialogue struct {
	*target
	r       *bufio.Reader
	w       *bufio.Writer
	content []byte
}

func (d *dialogue) reply(line string) { _, _ = d.w.WriteString(line + "\r\n") }

// flush waits while the client has sent more commands: a pipeline is answered at once.
func (d *dialogue) flush() error {
	if d.r.Buffered() > 0 {
		return nil
	}
	return d.w.Flush()
}

// command answers a line; false ends the dialogue.
func (d *dialogue) command(line []byte) bool {
	verb := string(bytes.ToUpper(line[:min(4, len(line))]))
	switch verb {
	case "EHLO":
		d.reply("250-bench.example.com\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE 10485760")
	case "HELO", "RSET", "NOOP", "MAIL", "RCPT":
		d.reply("250 2.0.0 Ok")
	case "DATA":
		d.reply("354 End data with <CR><LF>.<CR><LF>")
		if d.flush() != nil || !d.data() {
			return false
		}
		return d.judge()
	case "QUIT":
		d.reply("221 2.0.0 Bye")
		return false
	default:
		d.reply("502 5.5.1 Command not implemented")
	}
	return true
}

// data reads a mail up to its last dot.
func (d *dialogue) data() bool {
	d.content = d.content[:0]
	for {
		line, err := d.r.ReadSlice('\n')
		if err != nil {
			return false
		}
		if bytes.Equal(line, []byte(".\r\n")) {
			return true
		}
		d.content = append(d.content, line...)
	}
}

func (d *dialogue) judge() bool {
	switch d.take(d.content) {
	case accepted:
		d.reply("250 2.0.0 Ok: queued")
	case transient:
		d.reply("451 4.3.0 Try again later")
	case throttled:
		d.reply("421 4.7.0 Too many messages, slow down")
		return false
	case rejected:
		d.reply("554 5.6.0 The message is rejected")
	}
	return true
}
