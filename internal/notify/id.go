package notify

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"time"
)

// NewID mints a UUIDv7 (RFC 9562 §5.7).
func NewID() string {
	var u [16]byte
	_, _ = rand.Read(u[6:]) // crypto/rand.Read never returns an error
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(time.Now().UnixMilli()))
	copy(u[:6], ms[2:])
	return format(u, 7)
}

// DerivedID gives the UUIDv8 (RFC 9562 §5.8) that parts name: the same parts, the same id.
func DerivedID(parts ...string) string {
	b := make([]byte, 0, 256)
	for _, p := range parts {
		b = append(binary.BigEndian.AppendUint64(b, uint64(len(p))), p...)
	}
	sum := sha256.Sum256(b)
	return format([16]byte(sum[:16]), 8)
}

// ParseID gives the canonical form of a UUID of any version: lower case with hyphens.
func ParseID(s string) (string, bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return "", false
	}
	if b, err := hex.DecodeString(strings.ReplaceAll(s, "-", "")); err != nil || len(b) != 16 { // hyphens elsewhere
		return "", false
	}
	return strings.ToLower(s), true
}

func format(u [16]byte, version byte) string {
	u[6] = u[6]&0x0f | version<<4
	u[8] = u[8]&0x3f | 0x80
	var b [36]byte
	hex.Encode(b[0:8], u[0:4])
	hex.Encode(b[9:13], u[4:6])
	hex.Encode(b[14:18], u[6:8])
	hex.Encode(b[19:23], u[8:10])
	hex.Encode(b[24:], u[10:])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}
