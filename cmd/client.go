package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// client speaks HTTP to a running server.
type client struct {
	server string
	key    string
}

func addClient(c *cobra.Command) *client {
	cl := &client{}
	server := os.Getenv("LAUDSPEAKER_SERVER")
	if server == "" {
		server = "http://127.0.0.1:8080"
	}
	c.Flags().StringVar(&cl.server, "server", server, "where the API is (LAUDSPEAKER_SERVER)")
	c.Flags().StringVar(&cl.key, "key", "", "API key, where the server wants one (LAUDSPEAKER_API_KEY)")
	return cl
}

// problem is an answer other than success (RFC 9457).
type problem struct {
	Title  string        `json:"title"`
	Detail string        `json:"detail"`
	Status int           `json:"status"`
	Errors notify.Faults `json:"errors"`
}

func (p problem) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the server answers %d %s", p.Status, p.Title)
	if p.Detail != "" {
		b.WriteString(": " + p.Detail)
	}
	for _, f := range p.Errors {
		b.WriteString("\n  " + f.Pointer + ": " + f.Detail)
	}
	return b.String()
}

// call sends one request and decodes its answer. body may be nil.
func (cl *client) call(ctx context.Context, method, path string, body, answer any) error {
	request, err := cl.request(ctx, method, path, body)
	if err != nil {
		return err
	}
	response, err := (&http.Client{Timeout: 30 * time.Second}).Do(request)
	if err != nil {
		return cl.unreachable(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(io.LimitReader(response.Body, 64<<20))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", cl.server, err)
	}
	if response.StatusCode >= 300 {
		return problemOf(response.StatusCode, content)
	}
	if err := json.Unmarshal(content, answer); err != nil {
		return fmt.Errorf("%s answers something that is not JSON; name another server by --server", cl.server)
	}
	return nil
}

// problemOf reads an answer other than success.
func problemOf(status int, content []byte) problem {
	p := problem{}
	if json.Unmarshal(content, &p) != nil || p.Title == "" {
		p = problem{Title: http.StatusText(status), Detail: "this does not look like Laudspeaker; name another server by --server"}
	}
	p.Status = status
	return p
}

func (cl *client) request(ctx context.Context, method, path string, body any) (*http.Request, error) {
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
		content = bytes.NewReader(encoded)
	}
	base, err := url.Parse(cl.server)
	if err != nil || base.Host == "" || base.User != nil || base.Scheme != "http" && base.Scheme != "https" {
		return nil, errors.New("--server must be a URL such as http://127.0.0.1:8080")
	}
	request, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(base.String(), "/")+path, content)
	if err != nil {
		return nil, errors.New("--server must be a URL such as http://127.0.0.1:8080")
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if cl.key == "" {
		cl.key = os.Getenv("LAUDSPEAKER_API_KEY")
	}
	if cl.key != "" {
		request.Header.Set("Authorization", "Bearer "+cl.key)
	}
	return request, nil
}

func (cl *client) unreachable(err error) error {
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		return fmt.Errorf("nothing answers at %s: start it with \"laudspeaker all\" (or \"laudspeaker serve-api\"), or name another server by --server", cl.server)
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return fmt.Errorf("ask %s: %w", cl.server, err)
}
