package cmd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// pages are what an operator's tools ask: is the process alive, is it ready, what has it done.
type pages struct{ livez, readyz, metrics http.Handler }

func newPages(h *health, metrics prometheus.Gatherer) pages {
	return pages{
		livez: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") }),
		readyz: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if err := h.Ready(); err != nil {
				w.WriteHeader(http.StatusServiceUnavailable)
				fmt.Fprintln(w, err)
				return
			}
			fmt.Fprintln(w, "ok")
		}),
		metrics: promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}),
	}
}

// admin serves the pages on admin.listen, in every role.
type admin struct {
	listener net.Listener
	pages    pages
}

// Run serves until ctx ends, and closes the listener.
func (a *admin) Run(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.Handle("GET /livez", a.pages.livez)
	mux.Handle("GET /readyz", a.pages.readyz)
	mux.Handle("GET /metrics", a.pages.metrics)
	s := &http.Server{Handler: mux, ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	if err := s.Serve(a.listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
