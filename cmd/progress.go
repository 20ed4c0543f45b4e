package cmd

import (
	"fmt"
	"io"
	"strconv"
	"time"
)

// sayEvery is how often a command that takes long says how far it is.
const sayEvery = 2 * time.Second

// progress tells whoever waits for a command how far it is, and how fast; of what is soon over it says nothing.
type progress struct {
	w     io.Writer
	began time.Time
	said  time.Time
	n     int64
}

func newProgress(w io.Writer) *progress {
	now := time.Now()
	return &progress{w: w, began: now, said: now}
}

// add counts n more of what is being done.
func (p *progress) add(n int, doing string) {
	p.n += int64(n)
	now := time.Now()
	if now.Sub(p.said) < sayEvery {
		return
	}
	p.said = now
	fmt.Fprintf(p.w, "%s: %s so far, %s/s\n", doing, thousands(p.n), thousands(int64(float64(p.n)/now.Sub(p.began).Seconds())))
}

// at says that done of total is done.
func (p *progress) at(done, total int64, doing string) {
	p.n = done
	now := time.Now()
	if now.Sub(p.said) < sayEvery || total == 0 {
		return
	}
	p.said = now
	fmt.Fprintf(p.w, "%s: %s of %s (%d %%), %s/s\n", doing, thousands(done), thousands(total), 100*done/total,
		thousands(int64(float64(done)/now.Sub(p.began).Seconds())))
}

// thousands writes 12345 as 12,345.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
