package producer

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/validate"
)

func TestOpenAPIFile(t *testing.T) { golden(t, "../docs/openapi.json", string(OpenAPI())) }

func TestOpenAPIIsServed(t *testing.T) {
	_, key := GenerateKey("shop", ScopeSend)
	answer, body := do(t, newServer(t, Config{Keys: []Key{key}}), request(http.MethodGet, "/openapi.json", ""))
	require.Equal(t, http.StatusOK, answer.StatusCode, "it needs no key")
	require.Equal(t, string(OpenAPI()), body)
}

// TestOpenAPIIsWhole: every reference leads somewhere, nothing is loaded from elsewhere, every route is described.
func TestOpenAPIIsWhole(t *testing.T) {
	text := string(OpenAPI())
	var d struct {
		OpenAPI    string
		Paths      map[string]map[string]any
		Components struct{ Schemas map[string]any }
	}
	require.NoError(t, json.Unmarshal([]byte(text), &d))
	require.Equal(t, "3.1.0", d.OpenAPI)
	refs := 0
	for _, piece := range strings.Split(text, `"$ref": "#/components/schemas/`)[1:] {
		name, _, _ := strings.Cut(piece, `"`)
		require.Contains(t, d.Components.Schemas, name)
		refs++
	}
	require.Greater(t, refs, 10)
	require.NotContains(t, text, "://")
	for _, rt := range routes() {
		require.Contains(t, d.Paths[rt.Path], strings.ToLower(rt.Method))
	}
}

// TestDescribedNotificationsAreAccepted: the examples, and what validation takes, agree with the schema.
func TestDescribedNotificationsAreAccepted(t *testing.T) {
	for name, example := range examples() {
		raw, err := json.Marshal(example.Value)
		require.NoError(t, err)
		n, _, faults := validate.Decode(raw, true)
		require.Empty(t, faults, name)
		_, faults = validate.Rules{}.Check(n)
		require.Empty(t, faults, name)
		requireNotification(t, raw)
	}
	agree := 0
	for _, raw := range bases(t) {
		n, _, faults := validate.Decode(raw, true)
		if n == nil || len(faults) > 0 || strings.Contains(string(raw), "null") {
			continue
		}
		if _, faults = (validate.Rules{}).Check(n); len(faults) == 0 {
			requireNotification(t, raw)
			agree++
		}
	}
	require.Greater(t, agree, 8)
}

func requireNotification(t *testing.T, raw []byte) {
	t.Helper()
	var tree any
	require.NoError(t, json.Unmarshal(raw, &tree))
	requireSchema(t, "Notification", tree)
}
