package worker

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"slices"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

// contentTag identifies the content of a job, to tell a copy from another notification with the same ID. The first two bytes
// identify a key; the other six are a keyed hash of the content. Two tags of one key differ if the contents differ. Two tags of
// different keys cannot be compared. The zero tag is unknown.
//
// Tags are on the status topic, whose readers may not see the notifications. Without the key nobody can find a short code by
// trying all of them.
type contentTag [8]byte

// contentHash is an unkeyed hash of the content of a job, of one of two kinds.
type contentHash struct {
	kind byte
	sum  [8]byte
}

const (
	// hashContent is a [notify.Fingerprint]: independent of the JSON spelling.
	hashContent = 'c'
	// hashBytes is a checksum of the value. It costs next to nothing, and is enough where all copies have the same bytes: only
	// the API itself writes a notification whose ID the API has chosen.
	hashBytes = 'b'
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli) //nolint:gochecknoglobals // a constant table

func checksumOf(value []byte) contentHash {
	h := contentHash{kind: hashBytes}
	binary.BigEndian.PutUint32(h.sum[:4], crc32.Checksum(value, castagnoli))
	binary.BigEndian.PutUint32(h.sum[4:], uint32(len(value)))
	return h
}

// contentHashOf returns the hash that goes into the tag of r. Ok is false for a record whose ID follows from its offset: such a
// record has no copies. N is the parsed value of r, with its faults.
func (w *Worker) contentHashOf(r *kafka.Record, n *notify.Notification, faults notify.Faults) (h contentHash, ok bool) {
	if text, ok := r.Header(notify.HeaderFingerprint); ok {
		if f, ok := notify.ParseFingerprint(text); ok {
			return contentHash{hashContent, f}, true
		}
	}
	if hasHeader(r, notify.HeaderAcceptedAt) {
		return checksumOf(r.Value), true
	}
	if !hasProducerID(n, r) {
		return h, false
	}
	if c, ok := w.fingerprintsOf(n, faults); ok {
		return contentHash{hashContent, c.Exact}, true
	}
	return checksumOf(r.Value), true
}

// fingerprintsOf returns the fingerprints of a notification of a direct producer. Ok is false if the notification has faults.
func (w *Worker) fingerprintsOf(n *notify.Notification, faults notify.Faults) (c notify.Content, ok bool) {
	if n == nil || len(faults) > 0 {
		return c, false
	}
	normalized := *n
	normalized.Channel = w.cfg.Channel
	normalized.Lane = w.cfg.Lane
	c, err := notify.ContentOf(&normalized)
	return c, err == nil
}

// hasProducerID reports whether the producer of r has chosen the ID of the notification.
func hasProducerID(n *notify.Notification, r *kafka.Record) bool {
	return n != nil && n.ID != "" || hasHeader(r, notify.HeaderID) || hasHeader(r, notify.HeaderIdempotency)
}

// hasHeader reports whether r has the header. Unlike [kafka.Record.Header] it does not allocate.
func hasHeader(r *kafka.Record, key string) bool {
	return slices.ContainsFunc(r.Headers, func(h kafka.Header) bool { return h.Key == key })
}

// isConflict reports whether r is certainly not a copy of the notification whose tag is known under the same ID. It is called
// only for records that are dropped, so it may compute every kind of hash.
func (w *Worker) isConflict(r *kafka.Record, known contentTag) bool {
	t := w.tagger()
	if known == (contentTag{}) || [2]byte(known[:2]) != t.keyID {
		return false
	}
	n, _, faults := validate.Decode(r.Value, false)
	hashes := []contentHash{checksumOf(r.Value)}
	if h, ok := w.contentHashOf(r, n, faults); ok {
		hashes = append(hashes, h)
	}
	if c, ok := w.fingerprintsOf(n, faults); ok { // the API adds an expiry to a notification without one
		hashes = append(hashes, contentHash{hashContent, c.Exact}, contentHash{hashContent, c.NoExpiry})
	}
	for _, h := range hashes {
		if t.tag(h) == known {
			return false
		}
	}
	return true
}

// tagger computes content tags with one key. It is immutable, so concurrent calls are safe.
type tagger struct {
	key    [16]byte
	shared bool // all workers have the key
	keyID  [2]byte
}

func newTagger(key [16]byte, shared bool) *tagger {
	t := &tagger{key: key, shared: shared}
	sum := t.sum(contentHash{}) // differs from the sum of every content: those have a kind
	t.keyID = [2]byte(sum[:2])
	return t
}

func (t *tagger) sum(h contentHash) [sha256.Size]byte {
	var b [25]byte // fits into one block of SHA-256; a key before a text of fixed length needs no HMAC
	copy(b[:16], t.key[:])
	b[16] = h.kind
	copy(b[17:], h.sum[:])
	return sha256.Sum256(b[:])
}

// tag returns the tag of a content hash.
func (t *tagger) tag(h contentHash) (c contentTag) {
	sum := t.sum(h)
	copy(c[:2], t.keyID[:])
	copy(c[2:], sum[:])
	return c
}

// tagger returns the tagger with the key that workers share. While there is no such key, it returns a tagger with a key of this
// process alone.
func (w *Worker) tagger() *tagger {
	current := w.currentTagger.Load()
	if w.cfg.FingerprintKey == nil {
		return current
	}
	if key, ok := w.cfg.FingerprintKey(); ok && (!current.shared || key != current.key) {
		current = newTagger(key, true)
		w.currentTagger.Store(current)
	}
	return current
}

func newRandomTagger() *tagger {
	var key [16]byte
	_, _ = rand.Read(key[:]) // crypto/rand.Read never returns an error
	return newTagger(key, false)
}

// ledgerTag returns the ledger header with j's tag. Ok is false if other workers could not compare the tag. A tag of a checksum
// is not written either: a record with such a tag has an ID that the API chose, so another notification hardly ever has this ID.
func (j *job) ledgerTag() (h kafka.Header, ok bool) {
	if !j.tagShared {
		return h, false
	}
	return kafka.Header{Key: notify.HeaderFingerprint, Value: hex.AppendEncode(nil, j.tag[:])}, true
}

// parseTag returns the tag that ledgerTag has written, or the zero tag.
func parseTag(r *kafka.Record) contentTag {
	var c contentTag
	text, ok := r.Header(notify.HeaderFingerprint)
	if !ok || len(text) != 2*len(c) {
		return contentTag{}
	}
	if _, err := hex.Decode(c[:], []byte(text)); err != nil {
		return contentTag{}
	}
	return c
}

// dropConflict ends a record that is another notification with a known ID. Like a copy it is not sent. An event reports it, which
// does not change the state of the notification.
func (w *Worker) dropConflict(a *kafka.Attempt, j *job) kafka.Result {
	w.dropDuplicate(a, j)
	w.log.Warn("another notification came under a known id and is dropped: give every notification an id of its own",
		zap.String("id", j.id), zap.Int32("partition", a.Partition), zap.Int64("offset", a.Offset))
	e := w.baseEvent(j)
	e.State = notify.StateQueued
	e.Note = notify.NoteDuplicate
	e.Warnings = nil
	e.Reference = ""
	e.Origin = &notify.Origin{Topic: a.Topic, Partition: a.Partition, Offset: a.Offset}
	res := w.cfg.Records.End(a.Record, e)
	res.Ended = func(*kafka.Outcome) { w.metrics.conflicts.Inc() }
	return res
}
