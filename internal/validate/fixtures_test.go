package validate

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMistakes: each file is one mistake, named after it, with the faults that it must get and no others.
func TestMistakes(t *testing.T) {
	for name, raw := range fixtures(t, "mistakes") {
		t.Run(name, func(t *testing.T) {
			var fixture struct {
				Submitted json.RawMessage `json:"submitted"`
				Faults    []string        `json:"faults"`
			}
			require.NoError(t, json.Unmarshal(raw, &fixture))
			_, _, faults := inspect(fixture.Submitted, true)
			var got []string
			for _, f := range faults {
				got = append(got, f.Pointer+" "+f.Code)
				require.NotEmpty(t, f.Detail)
			}
			require.ElementsMatch(t, fixture.Faults, got)
			requireNoEcho(t, fixture.Submitted, faults, 12)
		})
	}
}

// TestValid: what is accepted is accepted again by whoever reads it from the bus, under the same key.
func TestValid(t *testing.T) {
	for name, raw := range fixtures(t, "valid") {
		t.Run(name, func(t *testing.T) {
			n, m, faults := inspect(raw, true)
			require.Empty(t, faults)
			again(t, n, OrderingKey(m))
		})
	}
}
