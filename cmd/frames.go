package cmd

import (
	"bufio"
	"io"
	"strings"
)

// frame is one event of a stream by the rules of text/event-stream. Without data it only says how far the stream is.
type frame struct{ id, name, data string }

// frames reads a stream of them.
type frames struct {
	lines *bufio.Scanner
	heard func() // called at every line
}

func newFrames(r io.Reader, heard func()) *frames {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 8<<20) // more than any event has
	return &frames{lines, heard}
}

// next gives the next frame that has an id or data. One that is cut off is none: io.EOF, or what the connection ended in.
func (f *frames) next() (next frame, err error) {
	for f.lines.Scan() {
		f.heard()
		line := f.lines.Text()
		if line == "" {
			if next.id != "" || next.data != "" {
				return next, nil
			}
			next = frame{}
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "id":
			next.id = value
		case "event":
			next.name = value
		case "data":
			next.data = strings.TrimPrefix(next.data+"\n"+value, "\n")
		}
	}
	if err = f.lines.Err(); err == nil {
		err = io.EOF
	}
	return frame{}, err
}
