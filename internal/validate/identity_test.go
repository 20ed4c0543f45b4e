package validate

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// The derived ids are pinned: another one would make a job that is read again a notification of its own.
func TestIdentity(t *testing.T) {
	const id, other = "0190163d-8694-739b-aea5-966c26f8ad91", "0191163d-8694-739b-aea5-966c26f8ad91"
	with := func(headers ...string) Source {
		return Source{
			Header: func(key string) (string, bool) {
				for i := 0; i < len(headers); i += 2 {
					if headers[i] == key {
						return headers[i+1], true
					}
				}
				return "", false
			},
			Cluster: "cluster", Topic: "email_topic", Partition: 3, Offset: 42, Written: time.UnixMilli(1_700_000_000_123),
		}
	}
	require.Equal(t, id, Identity(&notify.Notification{ID: id}, with("ls-id", other, "ls-idempotency", "key")))
	require.Equal(t, other, Identity(&notify.Notification{ID: "nobody"}, with("ls-id", other, "ls-idempotency", "key")))
	require.Equal(t, other, Identity(nil, with("ls-id", other)))
	require.Equal(t, "2047a95f-a2a0-87f1-80cc-9e8ff264585e", Identity(&notify.Notification{Tenant: "shop"}, with("ls-idempotency", "key")))
	require.Equal(t, "428982cd-d4bd-872f-acf2-1c7f7ae75621", Identity(nil, with("ls-id", "nobody", "ls-idempotency", "key")))
	require.Equal(t, "dc759dc7-92f6-8baf-a2c6-33ac2e558feb", Identity(nil, with("ls-idempotency", "")))
}
