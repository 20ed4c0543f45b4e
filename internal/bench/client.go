package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// client is one kept connection to an API. It costs less CPU time than that of net/http, so that the load takes less from
// what is measured beside it.
type client struct {
	address string
	conn    net.Conn
	r       *bufio.Reader
	request []byte
	answer  bytes.Buffer
}

func newClient(url string) *client { return &client{address: strings.TrimPrefix(url, "http://")} }

func (c *client) close() {
	if c.conn != nil {
		_ = c.conn.Close() // nothing is on its way
		c.conn = nil
	}
}

// post sends one request and reads its answer, which is valid until the next call. After an error the next call connects again.
func (c *client) post(path, key string, body []byte) (status int, answer []byte, err error) {
	if c.conn == nil {
		if c.conn, err = net.DialTimeout("tcp", c.address, 10*time.Second); err != nil { //nolint:noctx // loopback
			c.conn = nil
			return 0, nil, err
		}
		c.r = bufio.NewReader(c.conn)
	}
	c.request = append(c.request[:0], "POST "+path+" HTTP/1.1\r\nHost: "+c.address+"\r\nContent-Type: application/json\r\n"...)
	if key != "" {
		c.request = append(c.request, "Idempotency-Key: "+key+"\r\n"...)
	}
	c.request = append(c.request, "Content-Length: "...)
	c.request = append(strconv.AppendInt(c.request, int64(len(body)), 10), "\r\n\r\n"...)
	c.request = append(c.request, body...)
	status, err = c.exchange()
	if err != nil {
		c.close()
	}
	return status, c.answer.Bytes(), err
}

func (c *client) exchange() (status int, err error) {
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	if _, err := c.conn.Write(c.request); err != nil {
		return 0, err
	}
	response, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	c.answer.Reset()
	if _, err := c.answer.ReadFrom(response.Body); err != nil {
		return 0, err
	}
	if response.Close {
		return 0, errors.New("the server closes the connection")
	}
	return response.StatusCode, nil
}

// acceptedOf tells for each notification of a request whether it was accepted.
func acceptedOf(status int, answer []byte, count int) []bool {
	taken := make([]bool, count)
	switch {
	case status == http.StatusAccepted:
		taken[0] = true
	case status != http.StatusOK:
	case bytes.Count(answer, []byte(`"status":202`)) == count:
		for i := range taken {
			taken[i] = true
		}
	default:
		var parsed struct{ Results []struct{ Status int } }
		if json.Unmarshal(answer, &parsed) == nil {
			for i := range min(count, len(parsed.Results)) {
				taken[i] = parsed.Results[i].Status == http.StatusAccepted
			}
		}
	}
	return taken
}
