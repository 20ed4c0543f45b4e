package validate

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// inspect decodes and checks raw as a worker does whose gateways have no sender of their own and take every recipient type.
func inspect(raw []byte, strict bool) (*notify.Notification, *notify.Message, notify.Faults) {
	n, _, faults := Decode(raw, strict)
	if n == nil {
		return nil, nil, faults
	}
	m, more := Rules{RecipientTypes: notify.RecipientTypes()}.Check(n)
	for _, f := range more {
		if !has(faults, f.Pointer) {
			faults = append(faults, f)
		}
	}
	return n, m, faults
}

func has(faults notify.Faults, pointer string) bool {
	for _, f := range faults {
		if f.Pointer == pointer {
			return true
		}
	}
	return false
}

func fixtures(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", dir, "*.json"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	all := map[string][]byte{}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		require.NoError(t, err)
		all[strings.TrimSuffix(filepath.Base(f), ".json")] = raw
	}
	return all
}

// leaves gives every string of a JSON value, names left out.
func leaves(v any) (all []string) {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		for _, e := range v {
			all = append(all, leaves(e)...)
		}
	case map[string]any:
		for _, e := range v {
			all = append(all, leaves(e)...)
		}
	}
	return all
}

// requireNoEcho makes sure that no fault repeats a value of at least least bytes.
func requireNoEcho(t *testing.T, raw []byte, faults notify.Faults, least int) {
	t.Helper()
	var tree any
	if json.Unmarshal(raw, &tree) != nil {
		tree = string(raw)
	}
	for _, s := range leaves(tree) {
		if len(s) >= least {
			require.NotContains(t, faults.Error(), s)
		}
	}
}
