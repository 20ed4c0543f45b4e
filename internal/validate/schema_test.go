package validate

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// published is the schema of notifications as everybody reads it.
func published(t testing.TB, formats bool) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	if formats {
		c.AssertFormat()
	}
	s, err := c.Compile("../../docs/schemas/notification.json")
	require.NoError(t, err)
	return s
}

func tree(t require.TestingT, raw []byte) any {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	require.NoError(t, err)
	return v
}

func TestTheSchemaAcceptsWhatIsValid(t *testing.T) {
	s := published(t, true)
	for name, raw := range fixtures(t, "valid") {
		require.NoError(t, s.Validate(tree(t, raw)), name)
	}
}

// named are the mistakes that a schema can name; the others it takes, and a worker refuses.
const named = `
apns-token-empty channel-number channel-unknown channel-webhook email-attachment-content-absent email-attachment-content-array
email-attachment-content-id-angle email-attachment-filename-absent email-attachment-filename-long email-attachment-unknown
email-attachments-null email-attachments-object email-cc-null email-cc-string email-headers-colon email-headers-list-alone
email-headers-name-line-break email-headers-number email-headers-subject email-headers-value-long email-headers-x-alone email-many
email-no-body email-partial-unknown email-recipient-empty email-subject-absent email-subject-long email-subject-null email-subject-number email-unknown
expires-at-empty expires-at-not-a-time expires-at-number id-not-a-uuid lane-unknown metadata-array
metadata-null metadata-number on-ambiguous-unknown ordering-key-long payload-absent payload-empty payload-string push-android-array
push-collapse-key-long push-data-empty-name push-data-number
push-empty push-image push-priority push-token-empty push-type-unknown
push-unknown recipient-absent recipient-array recipient-null recipient-type-on-email reference-long send-at-not-a-time
sensitive-string sms-body-absent sms-body-long sms-media-eleven sms-media-relative sms-media-scheme sms-media-space
sms-media-empty sms-recipient-empty sms-recipient-letters sms-recipient-long sms-recipient-no-plus sms-recipient-short sms-recipient-spaces
sms-recipient-unicode-digits sms-recipient-zero sms-unknown tenant-long tenant-space
`

func TestTheSchemaRefusesTheMistakesThatItCanName(t *testing.T) {
	s, names, refused := published(t, true), strings.Fields(named), 0
	for name, raw := range fixtures(t, "mistakes") {
		var fixture struct{ Submitted json.RawMessage }
		require.NoError(t, json.Unmarshal(raw, &fixture))
		err := s.Validate(tree(t, fixture.Submitted))
		require.Equal(t, slices.Contains(names, name), err != nil, "%s: %v", name, err)
		if err != nil {
			refused++
		}
	}
	require.Equal(t, len(names), refused, "every name has its fixture")
}

// Whatever a worker takes, whoever wrote it, is valid by the schema: nulls, empty words and unknown fields included.
func TestTheSchemaAcceptsWhateverIsAccepted(t *testing.T) {
	s, all := published(t, false), fixtures(t, "valid")
	for name, raw := range fixtures(t, "mistakes") {
		var fixture struct{ Submitted json.RawMessage }
		require.NoError(t, json.Unmarshal(raw, &fixture))
		all[name] = fixture.Submitted
	}
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	accepted := 0
	rapid.Check(t, func(t *rapid.T) {
		var n any
		if json.Unmarshal(all[rapid.SampledFrom(names).Draw(t, "from")], &n) != nil {
			return
		}
		for range rapid.IntRange(0, 3).Draw(t, "changes") {
			change(t, n, all)
		}
		raw, err := json.Marshal(n)
		require.NoError(t, err)
		d, _, faults := Decode(raw, false)
		if len(faults) > 0 {
			return
		}
		anyFrom := map[notify.Channel]bool{notify.ChannelEmail: true, notify.ChannelSMS: true}
		if d.Channel == "" {
			d.Channel = rapid.SampledFrom(notify.Channels()).Draw(t, "topic")
		}
		if _, faults = (Rules{DefaultFrom: anyFrom, RecipientTypes: notify.RecipientTypes()}).Check(d); len(faults) > 0 {
			return
		}
		accepted++
		require.NoError(t, s.Validate(tree(t, raw)), "%s", raw)
	})
	require.Greater(t, accepted, 10)
}

// change changes a member of n, or of its payload.
func change(t *rapid.T, n any, all map[string][]byte) {
	o, ok := n.(map[string]any)
	if p, is := o["payload"].(map[string]any); ok && is && rapid.Bool().Draw(t, "in the payload") {
		o = p
	}
	if !ok {
		return
	}
	known := slices.Concat(envelope, emailFields, smsFields, pushFields)
	name := rapid.SampledFrom(known).Draw(t, "member")
	if rapid.Bool().Draw(t, "one that is there") {
		there := make([]string, 0, len(o))
		for k := range o {
			there = append(there, k)
		}
		if slices.Sort(there); len(there) > 0 {
			name = rapid.SampledFrom(there).Draw(t, "which")
		}
	}
	switch rapid.IntRange(0, 4).Draw(t, "how") {
	case 0:
		delete(o, name)
	case 1:
		o[name] = nil
	case 2:
		o[name] = ""
	case 3:
		o[name] = rapid.SampledFrom([]any{
			[]any{}, map[string]any{}, true, "x", "X-y", "high", "hold", "urgent", "2030-01-01T00:00:00Z", map[string]any{"k": "v"}, []any{"a@example.com"},
		}).Draw(t, "value")
	default: // as another has it
		var other map[string]any
		_ = json.Unmarshal(all[rapid.SampledFrom([]string{"email-everything", "push-full-payload", "push-blocks", "sms-media"}).Draw(t, "of")], &other)
		if v, has := other[name]; has {
			o[name] = v
		} else if p, _ := other["payload"].(map[string]any); p != nil {
			if v, has := p[name]; has {
				o[name] = v
			}
		}
	}
}
