package store

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
	"unicode/utf8"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// edge is a place in a list: lists are ordered by (accepted_at, id), the latest first.
type edge struct {
	at int64
	id string
}

// cursor gives e as text that callers hand back unread.
func (e edge) cursor() string {
	return base64.RawURLEncoding.EncodeToString(append(binary.BigEndian.AppendUint64(nil, uint64(e.at)), e.id...))
}

// parseCursor gives nil for no cursor.
func parseCursor(cursor string) (*edge, error) {
	if cursor == "" {
		return nil, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(b) <= 8 || len(b) > 8+longest {
		return nil, notify.ErrBadCursor
	}
	id := string(b[8:])
	if !utf8.ValidString(id) || strings.Contains(id, "\x00") {
		return nil, notify.ErrBadCursor
	}
	return &edge{int64(binary.BigEndian.Uint64(b)), id}, nil
}
