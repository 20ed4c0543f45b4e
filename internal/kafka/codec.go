package kafka

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// metadataLimit keeps a commit's metadata below the 4,096 bytes at which brokers refuse it, and the offset with it.
const metadataLimit = 4000

// metadata is the text that a commit carries beside its offset, in one of two versions:
//
//	ls1.<flags>.<ledger>.<count>.<bitmap>
//	ls2.<flags>.<ledger>.<count>.<fields>.<bitmap>
//
// Numbers are decimal. The bitmap is unpadded base64; its bit 0 is the committed offset. Flags are 0 in both versions.
// Fields are key:value pairs joined by commas, with values of [A-Za-z0-9_/-]; a reader ignores keys that it does not know.
//
// A commit without fields is written as ls1. Builds that know ls1 only take an ls2 text for damaged metadata of ours: they
// keep the committed offset, drop the bitmap and read the whole ledger, which names the jobs that the bitmap named. A mover
// has no ledger; such a build moves the records of the bitmap again, and workers drop the copies by id, run and step.
type metadata struct {
	ledger  int64   // the ledger is reflected up to here: a new owner reads from this offset on
	count   int32   // the ledger topic's partition count when the claim was first committed
	job     TopicID // field t: the topic that the offset and the bitmap are about
	journal TopicID // field l: the ledger topic that ledger is about
	bitmap  []byte  // offsets done above the committed one

	epoch       leaderEpoch // field e: the newest that was read of the job partition
	ledgerEpoch leaderEpoch // field k: the epoch of the ledger's leader, and where the ledger ended for it

	by      generation // field g: the owner's
	orderly bool       // field c: the owner has left nothing in flight
	since   time.Time  // field p: no follow-on of a job that is not done was handed over earlier
	ended   time.Time  // field n: when the newest outcome was handed over
	fences  fences     // field v, when it was read
	fenced  string     // field v, when it is written
}

// Keys of the fields.
const (
	fieldJob    = "t"
	fieldLedger = "l"
	fieldBy     = "g"
	fieldClean  = "c"
	fieldSince  = "p"
	fieldEnded  = "n"
	fieldFences = "v"
	fieldEpoch  = "e"

	fieldLedgerEpoch = "k"
)

var (
	// errForeign: not written by a runner; the offset was set by somebody else, so nothing of the ledger counts.
	errForeign = errors.New("no metadata of ours")
	// errUnreadable: ours, but damaged or of a later version.
	errUnreadable = errors.New("unreadable commit metadata")
)

// encode gives the text and whether it fits.
func (m metadata) encode() (string, bool) {
	bitmap := base64.RawStdEncoding.EncodeToString(m.bitmap)
	var s string
	if fields := m.fields(); fields != "" {
		s = fmt.Sprintf("ls2.0.%d.%d.%s.%s", m.ledger, m.count, fields, bitmap)
	} else {
		s = fmt.Sprintf("ls1.0.%d.%d.%s", m.ledger, m.count, bitmap)
	}
	return s, len(s) <= metadataLimit
}

func (m metadata) fields() string {
	var fields []string
	add := func(key, value string) {
		if value != "" {
			fields = append(fields, key+":"+value)
		}
	}
	add(fieldJob, m.job.String())
	add(fieldLedger, m.journal.String())
	add(fieldEpoch, m.epoch.String())
	add(fieldLedgerEpoch, m.ledgerEpoch.String())
	if m.by > 0 {
		add(fieldBy, strconv.FormatUint(uint64(m.by), 10))
	}
	if m.orderly {
		add(fieldClean, "1")
	}
	add(fieldSince, millis(m.since))
	add(fieldEnded, millis(m.ended))
	add(fieldFences, m.fenced)
	return strings.Join(fields, ",")
}

// field sets what one field of the text says.
func (m *metadata) field(key, value string) error {
	var err error
	switch key {
	case fieldJob:
		m.job, err = ParseTopicID(value)
	case fieldLedger:
		m.journal, err = ParseTopicID(value)
	case fieldBy:
		var by uint64
		by, err = strconv.ParseUint(value, 10, 63)
		m.by = generation(by)
	case fieldClean:
		m.orderly = value == "1"
	case fieldSince:
		m.since, err = fromMillis(value)
	case fieldEnded:
		m.ended, err = fromMillis(value)
	case fieldEpoch:
		m.epoch, err = parseLeaderEpoch(value)
	case fieldLedgerEpoch:
		m.ledgerEpoch, err = parseLeaderEpoch(value)
	case fieldFences:
		m.fences, err = decodeFences(value)
	}
	return err
}

// millis is a time as text; empty for the zero time.
func millis(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return strconv.FormatInt(t.UnixMilli(), 36)
}

func fromMillis(s string) (time.Time, error) {
	ms, err := strconv.ParseInt(s, 36, 64)
	return time.UnixMilli(ms), err
}

func decodeMetadata(s string) (metadata, error) {
	if !strings.HasPrefix(s, "ls") {
		return metadata{}, errForeign
	}
	var m metadata
	f := strings.Split(s, ".")
	switch {
	case len(f) == 5 && f[0] == "ls1":
	case len(f) == 6 && f[0] == "ls2":
		for pair := range strings.SplitSeq(f[4], ",") {
			key, value, _ := strings.Cut(pair, ":")
			if m.field(key, value) != nil {
				return metadata{}, errUnreadable
			}
		}
	default:
		return metadata{}, errUnreadable
	}
	ledger, err1 := strconv.ParseInt(f[2], 10, 64)
	count, err2 := strconv.ParseInt(f[3], 10, 32)
	bitmap, err3 := base64.RawStdEncoding.DecodeString(f[len(f)-1])
	if f[1] != "0" || err1 != nil || err2 != nil || err3 != nil || ledger < 0 || count < 1 {
		return metadata{}, errUnreadable
	}
	m.ledger, m.count, m.bitmap = ledger, int32(count), bitmap
	return m, nil
}

// LedgerNeeded says from which offset on the ledger is still needed by whoever takes over a job partition whose commit
// carries that metadata, and in which of the ledger's partitions. ok is false when the metadata does not say.
func LedgerNeeded(jobPartition int32, metadata string) (partition int32, offset int64, ok bool) {
	m, err := decodeMetadata(metadata)
	if err != nil {
		return 0, 0, false
	}
	return jobPartition % m.count, m.ledger, true
}
