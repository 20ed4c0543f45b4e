package store

import (
	"fmt"
	"hash/crc64"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// clean makes text of the topics fit for both databases: PostgreSQL takes neither NUL nor what is not UTF-8.
func clean(s string) string {
	if utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 {
		return s // nearly always, and told faster
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "�"), "\x00", "�")
}

// longest is how many bytes a word of an index has at most: PostgreSQL refuses entries of more than 2,700 bytes.
const longest = 255

// short makes s fit for an index. What is too long is cut and gets a checksum, so that it is still found by itself.
func short(s string) string {
	s = clean(s)
	if len(s) <= longest {
		return s
	}
	return notify.Clip(s, longest-40) + fmt.Sprintf("~%016x", checksum([]byte(s)))
}

// checksum decides between two of one name and time. It is the same everywhere and never negative.
func checksum(parts ...[]byte) int64 {
	table, sum := crc64.MakeTable(crc64.ECMA), uint64(0)
	for _, p := range parts {
		sum = crc64.Update(sum, table, p)
	}
	return int64(sum >> 1)
}

// micros gives a time as the tables have it. JSON has no year beyond 9999, and a table must not hold what cannot be shown.
func micros(t time.Time) int64 {
	const earliest, latest = -62135596800_000_000, 253402300799_000_000 // the years 1 to 9999
	return min(max(t.UnixMicro(), earliest), latest)
}

func microsOf(t *time.Time) *int64 {
	if t == nil {
		return nil
	}
	m := micros(*t)
	return &m
}

func timeOf(m *int64) *time.Time {
	if m == nil {
		return nil
	}
	t := time.UnixMicro(*m).UTC()
	return &t
}
