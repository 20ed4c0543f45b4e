package cmd

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// listen takes the address of a setting. When it is taken, the error is one sentence with the port, the setting and an
// address that is free.
func listen(key, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		host, _, _ := net.SplitHostPort(address)
		return nil, portTaken(key, address, freeAddress(host))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return l, nil
}

func portTaken(key, address, free string) error {
	_, port, _ := net.SplitHostPort(address)
	return fmt.Errorf("port %s is in use: end what listens on %s, or set another address, such as --set %s=%s", port, address, key, free)
}

// freeAddress names an address that was free a moment ago.
func freeAddress(host string) string {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return net.JoinHostPort(host, "0")
	}
	defer l.Close()
	return l.Addr().String()
}

// listenNear takes the address, or the next port that is free.
func listenNear(key, address string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	n, err := net.LookupPort("tcp", port)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	for range 100 {
		l, err := net.Listen("tcp", net.JoinHostPort(host, fmt.Sprint(n)))
		if !errors.Is(err, syscall.EADDRINUSE) {
			return l, err
		}
		n++
	}
	return listen(key, address)
}
