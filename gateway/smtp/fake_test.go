package smtp

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/config"
)

const (
	user = "relay-user-7"
	pass = "relay-pass-hush"
)

// act is what the fake does at a step instead of a normal reply.
type act struct {
	reply  string // said instead
	drop   bool   // hang up, after the reply if there is one
	once   bool
	silent chan struct{} // say nothing any more; closed when the step is reached
}

// fake is a relay that can break the protocol at each step. It keeps the mails that it accepted.
type fake struct {
	listener net.Listener
	ext      []string    // offered by EHLO
	tls      *tls.Config // for STARTTLS, or with implicit from the first byte
	implicit bool
	auth     bool
	refuse   map[string]string // replies to RCPT by address

	mu    sync.Mutex
	acts  map[step]act
	got   []accepted
	conns map[net.Conn]bool
	count int      // of connections so far
	heard []string // every command
	wg    sync.WaitGroup
}

type accepted struct {
	from string
	to   []string
	data string

	encrypted bool
}

func newFake(t testing.TB, set ...func(*fake)) *fake {
	f := &fake{acts: map[step]act{}, conns: map[net.Conn]bool{}}
	for _, s := range set {
		s(f)
	}
	var err error
	f.listener, err = net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	f.wg.Go(func() {
		for {
			conn, err := f.listener.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns[conn] = true
			f.count++
			f.mu.Unlock()
			f.wg.Go(func() { f.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = f.listener.Close()
		f.hangUp()
		f.wg.Wait()
	})
	return f
}

// hangUp drops every connection, like a relay that restarts.
func (f *fake) hangUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		_ = c.Close()
	}
}

func (f *fake) on(at step, a act) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.acts[at] = a
}

func (f *fake) once(at step, a act) {
	a.once = true
	f.on(at, a)
}

func (f *fake) accept() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.acts = map[step]act{}
}

func (f *fake) delivered() (texts []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.got {
		texts = append(texts, m.data)
	}
	return texts
}

func (f *fake) mails() []accepted {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]accepted(nil), f.got...)
}

func (f *fake) commands() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.heard...)
}

// open returns the number of open connections.
func (f *fake) open() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.conns)
}

func (f *fake) connections() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

func (f *fake) config() config.SMTP {
	c := config.SMTP{Host: "127.0.0.1", Port: f.listener.Addr().(*net.TCPAddr).Port, TLS: plain, HELO: "client.example"}
	if f.auth {
		c.Username, c.Password = user, pass
	}
	return c
}

// dialogue is the fake's side of one connection.
type dialogue struct {
	*fake
	conn net.Conn
	in   *bufio.Reader
	mail accepted
}

func (f *fake) serve(raw net.Conn) {
	d := &dialogue{fake: f, conn: raw}
	defer func() {
		_ = raw.Close()
		f.mu.Lock()
		delete(f.conns, raw)
		f.mu.Unlock()
	}()
	if f.implicit {
		d.conn = tls.Server(raw, f.tls)
	}
	d.in = bufio.NewReader(d.conn)
	if !d.say(atGreeting, "220 relay.example ESMTP") {
		return
	}
	for {
		line, err := d.in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		f.mu.Lock()
		f.heard = append(f.heard, line)
		f.mu.Unlock()
		if !d.command(line) {
			return
		}
	}
}

func (d *dialogue) command(line string) bool {
	verb, rest, _ := strings.Cut(line, " ")
	switch verb {
	case "EHLO":
		ext := append([]string{"relay.example"}, d.ext...)
		if d.auth {
			ext = append(ext, "AUTH PLAIN")
		}
		if _, secure := d.conn.(*tls.Conn); d.tls != nil && !secure {
			ext = append(ext, "STARTTLS")
		}
		return d.say(atHello, "250-"+strings.Join(ext[:len(ext)-1], "\r\n250-")+"\r\n250 "+ext[len(ext)-1])
	case "STARTTLS":
		if !d.say(atTLS, "220 go on") {
			return false
		}
		d.conn = tls.Server(d.conn, d.tls)
		d.in = bufio.NewReader(d.conn)
		return true
	case "AUTH":
		if rest == "PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+pass)) {
			return d.say(atAuth, "235 2.7.0 welcome")
		}
		return d.say(atAuth, "535 5.7.8 wrong")
	case "MAIL":
		d.mail = accepted{from: rest}
		return d.say(atMail, "250 2.1.0 ok")
	case "RCPT":
		d.mail.to = append(d.mail.to, strings.TrimSuffix(strings.TrimPrefix(rest, "TO:<"), ">"))
		if no := d.refuse[last(d.mail.to)]; no != "" {
			_, err := io.WriteString(d.conn, d.echo(no)+"\r\n")
			return err == nil
		}
		return d.say(atRcpt, "250 2.1.5 ok")
	case "DATA":
		return d.say(atData, "354 go on") && (d.misbehaves(atData) || d.writeMail())
	case "RSET":
		return d.say(atReset, "250 2.0.0 ok")
	case "QUIT":
		_, _ = io.WriteString(d.conn, "221 2.0.0 bye\r\n")
		return false
	}
	_, err := io.WriteString(d.conn, "502 5.5.2 what?\r\n")
	return err == nil
}

func (d *dialogue) writeMail() bool {
	if d.misbehaves(atContent) && !d.say(atContent, "") {
		return false
	}
	var data strings.Builder
	for {
		line, err := d.in.ReadString('\n')
		if err != nil {
			return false
		}
		if line == ".\r\n" {
			break
		}
		data.WriteString(strings.TrimPrefix(line, "."))
	}
	d.mail.data = data.String()
	_, d.mail.encrypted = d.conn.(*tls.Conn)
	if !d.misbehaves(atDot) {
		d.mu.Lock()
		d.got = append(d.got, d.mail)
		d.mu.Unlock()
	}
	return d.say(atDot, "250 2.0.0 Ok: queued as 4XyZ01abc")
}

func (d *dialogue) misbehaves(at step) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, bad := d.acts[at]
	return bad
}

// say sends a reply, or does the act of this step; it returns false if the connection ends.
func (d *dialogue) say(at step, normal string) bool {
	d.mu.Lock()
	a, bad := d.acts[at]
	if bad && a.silent != nil {
		close(a.silent)
	}
	if bad && (a.once || a.silent != nil) {
		delete(d.acts, at)
	}
	d.mu.Unlock()
	switch {
	case bad && a.silent != nil:
		_, _ = io.Copy(io.Discard, d.conn) // until the client has enough
		return false
	case bad && a.reply != "":
		normal = d.echo(a.reply)
	case bad && a.drop:
		return false
	}
	_, err := io.WriteString(d.conn, normal+"\r\n")
	return err == nil && !a.drop
}

// echo inserts private words into a reply, as relays do.
func (d *dialogue) echo(reply string) string {
	to := ""
	if len(d.mail.to) > 0 {
		to = d.mail.to[len(d.mail.to)-1]
	}
	local, _, _ := strings.Cut(to, "@")
	_, body, _ := strings.Cut(d.mail.data, "\r\n\r\n")
	return strings.NewReplacer(
		"{to}", to, "{local}", local, "{user}", user, "{pass}", pass, "{body}", strings.TrimSpace(body),
		"{plain}", base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+pass)),
	).Replace(reply)
}
