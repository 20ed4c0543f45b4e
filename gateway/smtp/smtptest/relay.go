// Package smtptest is an SMTP relay for tests that follows a script. It keeps the mails that it has accepted.
//
// The servers of other libraries check more of the protocol, but they cannot break it on request, and they choose their replies.
package smtptest

import (
	"bufio"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// The points of the dialogue that are no command. The verbs of RFC 5321 name the commands.
const (
	Greeting = "greeting"
	Dot      = "." // the end of a mail
)

// Command is one command, or one point of the dialogue, for which the script has a reply.
type Command struct {
	Verb       string // EHLO, AUTH, MAIL, RCPT, DATA, RSET, [Greeting] or [Dot]
	Argument   string
	Connection int      // counted from 1
	Open       int      // connections at this moment
	To         []string // recipients of the transaction that the relay has accepted
	Mail       string   // at [Dot]: the mail
}

// Mail is one accepted transaction.
type Mail struct {
	From string   // the argument of MAIL
	To   []string // bare addresses
	Data string
}

// Relay is the server. Concurrent calls are safe.
type Relay struct {
	Port int

	listener net.Listener
	wg       sync.WaitGroup

	mu          sync.Mutex
	extensions  []string
	script      func(Command) string
	pause       func(Command) <-chan struct{}
	mails       []Mail
	commands    []string
	refused     map[string]int
	conns       map[net.Conn]bool
	connections int
}

// New starts a relay on loopback that accepts everything. It stops when the test ends.
func New(t testing.TB) *Relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &Relay{Port: l.Addr().(*net.TCPAddr).Port, listener: l, refused: map[string]int{}, conns: map[net.Conn]bool{}}
	r.wg.Go(r.accept)
	t.Cleanup(r.close)
	return r
}

// Announce sets the extensions that EHLO offers, such as "SIZE 200".
func (r *Relay) Announce(extensions ...string) { r.set(func() { r.extensions = extensions }) }

// Script sets the replies. An empty reply stands for the normal one of RFC 5321, and a reply that begins with 421 closes the
// connection. A nil script accepts everything. The relay calls the script with its mutex held, so the script may keep state.
func (r *Relay) Script(reply func(Command) string) { r.set(func() { r.script = reply }) }

// Pause sets a channel for which the relay waits before it replies to a command; it does not wait for a nil channel. The relay
// calls pause with its mutex held, and waits without it. A pause that has not ended at the end of the test fails the test.
func (r *Relay) Pause(until func(Command) <-chan struct{}) { r.set(func() { r.pause = until }) }

// At returns a script with one reply for one command.
func At(verb, reply string) func(Command) string {
	return func(c Command) string {
		if c.Verb == verb {
			return reply
		}
		return ""
	}
}

// Mails returns the accepted mails.
func (r *Relay) Mails() (all []Mail) {
	r.set(func() { all = append(all, r.mails...) })
	return all
}

// Commands returns every line that clients have sent, without the mails.
func (r *Relay) Commands() (all []string) {
	r.set(func() { all = append(all, r.commands...) })
	return all
}

// Refused returns the number of 4yz and 5yz replies to a verb.
func (r *Relay) Refused(verb string) (n int) {
	r.set(func() { n = r.refused[verb] })
	return n
}

// Connections returns the number of connections so far.
func (r *Relay) Connections() (n int) {
	r.set(func() { n = r.connections })
	return n
}

func (r *Relay) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

func (r *Relay) close() {
	_ = r.listener.Close()
	r.set(func() {
		for c := range r.conns {
			_ = c.Close()
		}
	})
	r.wg.Wait()
}

func (r *Relay) accept() {
	for {
		conn, err := r.listener.Accept()
		if err != nil {
			return
		}
		d := &dialogue{relay: r, conn: conn, in: bufio.NewReader(conn)}
		r.set(func() {
			r.connections++
			d.number = r.connections
			r.conns[conn] = true
		})
		r.wg.Go(d.serve)
	}
}

type dialogue struct {
	relay  *Relay
	conn   net.Conn
	in     *bufio.Reader
	number int
	mail   Mail
}

func (d *dialogue) serve() {
	defer func() {
		_ = d.conn.Close()
		d.relay.set(func() { delete(d.relay.conns, d.conn) })
	}()
	if d.say(Command{Verb: Greeting}, "220 relay.example ESMTP")/100 != 2 {
		return
	}
	for {
		line, err := d.in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		d.relay.set(func() { d.relay.commands = append(d.relay.commands, line) })
		verb, argument, _ := strings.Cut(line, " ")
		code := d.command(strings.ToUpper(verb), argument)
		if code == 0 || code == 221 || code == 421 {
			return
		}
	}
}

// command handles one command and returns the code of its reply; 0 if the connection is lost.
func (d *dialogue) command(verb, argument string) int {
	c := Command{Verb: verb, Argument: argument}
	switch verb {
	case "EHLO":
		var extensions []string
		d.relay.set(func() { extensions = append([]string{"relay.example"}, d.relay.extensions...) })
		last := len(extensions) - 1
		return d.say(c, strings.Join(append(prefixed("250-", extensions[:last]), "250 "+extensions[last]), "\r\n"))
	case "AUTH":
		if reply := d.scripted(c); reply != "" {
			return d.write(reply)
		}
		if argument == "LOGIN" && !d.challenged("VXNlcm5hbWU6", "UGFzc3dvcmQ6") {
			return 0
		}
		return d.write("235 2.7.0 welcome")
	case "MAIL":
		d.mail = Mail{From: argument}
		return d.say(c, "250 2.1.0 ok")
	case "RCPT":
		code := d.say(c, "250 2.1.5 ok")
		if code == 250 {
			_, to, _ := strings.Cut(argument, "<")
			d.mail.To = append(d.mail.To, strings.TrimSuffix(to, ">"))
		}
		return code
	case "DATA":
		if len(d.mail.To) == 0 {
			return d.write("554 5.5.1 no valid recipients")
		}
		if code := d.say(c, "354 go on"); code != 354 {
			return code
		}
		return d.content()
	case "QUIT":
		return d.write("221 2.0.0 bye")
	case "RSET", "NOOP":
		d.mail = Mail{}
		return d.say(c, "250 2.0.0 ok")
	}
	return d.write("502 5.5.2 unknown command")
}

// challenged sends the challenges and ignores the answers.
func (d *dialogue) challenged(challenges ...string) bool {
	for _, c := range challenges {
		if d.write("334 "+c) == 0 {
			return false
		}
		if _, err := d.in.ReadString('\n'); err != nil {
			return false
		}
	}
	return true
}

func (d *dialogue) content() int {
	var data strings.Builder
	for {
		line, err := d.in.ReadString('\n')
		if err != nil {
			return 0
		}
		if line == ".\r\n" {
			break
		}
		data.WriteString(strings.TrimPrefix(line, "."))
	}
	d.mail.Data = data.String()
	reply := d.scripted(Command{Verb: Dot, Mail: d.mail.Data})
	if reply == "" {
		reply = "250 2.0.0 Ok: queued as 4XyZ01abc"
	}
	if reply[0] == '2' {
		d.relay.set(func() { d.relay.mails = append(d.relay.mails, d.mail) })
	}
	return d.write(reply)
}

func (d *dialogue) say(c Command, usual string) int {
	if reply := d.scripted(c); reply != "" {
		return d.write(reply)
	}
	return d.write(usual)
}

func (d *dialogue) scripted(c Command) (reply string) {
	var pause <-chan struct{}
	d.relay.set(func() {
		if d.relay.pause != nil {
			c.Connection = d.number
			c.Open = len(d.relay.conns)
			c.To = d.mail.To
			pause = d.relay.pause(c)
		}
	})
	if pause != nil {
		<-pause
	}
	d.relay.set(func() {
		if d.relay.script == nil {
			return
		}
		c.Connection = d.number
		c.Open = len(d.relay.conns)
		c.To = d.mail.To
		reply = d.relay.script(c)
		if reply != "" && reply[0] >= '4' {
			d.relay.refused[c.Verb]++
		}
	})
	return reply
}

func (d *dialogue) write(reply string) int {
	if _, err := io.WriteString(d.conn, reply+"\r\n"); err != nil {
		return 0
	}
	code := 0
	last := reply[strings.LastIndexByte(reply, '\n')+1:]
	for _, r := range last[:min(3, len(last))] {
		code = code*10 + int(r-'0')
	}
	return code
}

func prefixed(prefix string, lines []string) []string {
	var all []string
	for _, l := range lines {
		all = append(all, prefix+l)
	}
	return all
}
