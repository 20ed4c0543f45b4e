package cmd

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestATakenPortIsOneSentenceWithAFreeOne(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	address := taken.Addr().String()
	_, port, _ := net.SplitHostPort(address)

	_, err = listen("api.listen", address)
	require.Error(t, err)
	require.Regexp(t, `^port `+port+` is in use: end what listens on `+address+`, or set another address, such as --set api\.listen=127\.0\.0\.1:\d+$`, err.Error())
	require.NotContains(t, err.Error(), "api.listen="+address)

	l, err := listen("api.listen", "127.0.0.1:0")
	require.NoError(t, err)
	l.Close()
	_, err = listen("api.listen", "192.0.2.1:1")
	require.ErrorContains(t, err, "api.listen: ")
}

func TestListenNearTakesTheNextFreePort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	l, err := listenNear("admin.listen", taken.Addr().String())
	require.NoError(t, err)
	defer l.Close()
	require.Greater(t, l.Addr().(*net.TCPAddr).Port, taken.Addr().(*net.TCPAddr).Port)

	_, err = listenNear("admin.listen", "127.0.0.1")
	require.ErrorContains(t, err, "admin.listen: ")
}
