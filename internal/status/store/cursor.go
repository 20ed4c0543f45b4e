package store

import (
	"encoding/base64"
	"encoding/binary"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// edge is a place in a list: lists are ordered by (accepted_at, line), the latest first.
type edge struct{ at, line int64 }

// cursor gives e as text that callers hand back unread.
func (e edge) cursor() string {
	b := binary.BigEndian.AppendUint64(nil, uint64(e.at))
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint64(b, uint64(e.line)))
}

// parseCursor gives nil for no cursor.
func parseCursor(cursor string) (*edge, error) {
	if cursor == "" {
		return nil, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(b) != 16 {
		return nil, notify.ErrBadCursor
	}
	return &edge{int64(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint64(b[8:]))}, nil
}
