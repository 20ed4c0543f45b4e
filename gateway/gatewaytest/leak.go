package gatewaytest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// texts returns every way to print err and the errors that it wraps.
func texts(err error) []string {
	if err == nil {
		return nil
	}
	all := []string{err.Error(), fmt.Sprintf("%v", err), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)}
	switch u := err.(type) { //nolint:errorlint // it walks the chain itself, every branch of it
	case interface{ Unwrap() error }:
		all = append(all, texts(u.Unwrap())...)
	case interface{ Unwrap() []error }:
		for _, e := range u.Unwrap() {
			all = append(all, texts(e)...)
		}
	}
	return all
}

// leak returns the first secret that shows in err's chain, or an empty text.
func leak(err error, secrets []string) string {
	for _, text := range texts(err) {
		if s := shown(text, secrets); s != "" {
			return s
		}
	}
	return ""
}

func shown(text string, secrets []string) string {
	for _, s := range secrets {
		if s != "" && strings.Contains(text, s) {
			return s
		}
	}
	return ""
}

// watchedLog returns a log whose lines are searched for secrets when the test ends.
func watchedLog(t testing.TB, secrets func() []string) *zap.Logger {
	core, seen := observer.New(zapcore.DebugLevel)
	t.Cleanup(func() {
		for _, e := range seen.All() {
			line, err := zapcore.NewJSONEncoder(zapcore.EncoderConfig{MessageKey: "m"}).EncodeEntry(e.Entry, e.Context)
			require.NoError(t, err)
			require.Empty(t, shown(line.String(), secrets()), "shown in the log line %s", line)
		}
	})
	return zap.New(core)
}
