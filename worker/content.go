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

// print is what is remembered of the content of a job: two bytes that name a key, and six that depend on the content and the
// key. Two prints under one key differ if the contents do; prints under two keys say nothing about each other. The zero
// value is unknown.
//
// It is on the status topic, whose readers may not see notifications: without the key nobody finds out a short code by
// trying all of them.
type print [8]byte

// contentHash is a hash of the content of a job, of one of two kinds.
type contentHash struct {
	kind byte
	sum  [8]byte
}

const (
	// hashContent is a [notify.Fingerprint]: spelling makes no difference.
	hashContent = 'c'
	// hashBytes is a checksum of the value. It costs next to nothing, and is enough where all copies have the same bytes:
	// nobody but the API itself writes a notification whose id the API has made.
	hashBytes = 'b'
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli) //nolint:gochecknoglobals // a constant table

func bytesOf(value []byte) contentHash {
	h := contentHash{kind: hashBytes}
	binary.BigEndian.PutUint32(h.sum[:4], crc32.Checksum(value, castagnoli))
	binary.BigEndian.PutUint32(h.sum[4:], uint32(len(value)))
	return h
}

// content is the hash by which r is remembered; ok is false for a record whose id follows from its offset: it has no copies.
// n is r's value, of which faults were found.
func (w *Worker) content(r *kafka.Record, n *notify.Notification, faults notify.Faults) (h contentHash, ok bool) {
	if text, ok := r.Header(notify.HeaderFingerprint); ok {
		if f, ok := notify.ParseFingerprint(text); ok {
			return contentHash{hashContent, f}, true
		}
	}
	if hasHeader(r, notify.HeaderAcceptedAt) {
		return bytesOf(r.Value), true
	}
	if !hasOwnID(n, r) {
		return h, false
	}
	if c, ok := w.contentOf(n, faults); ok {
		return contentHash{hashContent, c.Exact}, true
	}
	return bytesOf(r.Value), true
}

// contentOf gives the fingerprints of a direct producer's notification; ok is false for one with faults.
func (w *Worker) contentOf(n *notify.Notification, faults notify.Faults) (c notify.Content, ok bool) {
	if n == nil || len(faults) > 0 {
		return c, false
	}
	alike := *n
	alike.Channel, alike.Lane = w.cfg.Channel, w.cfg.Lane
	c, err := notify.ContentOf(&alike)
	return c, err == nil
}

// hasOwnID reports whether r's producer has named its notification.
func hasOwnID(n *notify.Notification, r *kafka.Record) bool {
	return n != nil && n.ID != "" || hasHeader(r, notify.HeaderID) || hasHeader(r, notify.HeaderIdempotency)
}

// hasHeader costs no memory, which [kafka.Record.Header] takes for the value.
func hasHeader(r *kafka.Record, key string) bool {
	return slices.ContainsFunc(r.Headers, func(h kafka.Header) bool { return h.Key == key })
}

// differs reports whether r is known not to be a copy of the notification that was remembered under its id. It is asked only
// for records that are dropped, so it can afford every hash.
func (w *Worker) differs(r *kafka.Record, remembered print) bool {
	s := w.sealer()
	if remembered == (print{}) || [2]byte(remembered[:2]) != s.name {
		return false
	}
	n, _, faults := validate.Decode(r.Value, false)
	hashes := []contentHash{bytesOf(r.Value)}
	if h, ok := w.content(r, n, faults); ok {
		hashes = append(hashes, h)
	}
	if c, ok := w.contentOf(n, faults); ok { // the API adds an expiry to what came without one
		hashes = append(hashes, contentHash{hashContent, c.Exact}, contentHash{hashContent, c.NoExpiry})
	}
	for _, h := range hashes {
		if s.seal(h) == remembered {
			return false
		}
	}
	return true
}

// sealer makes prints under one key. It never changes, and may be used by many goroutines.
type sealer struct {
	key    [16]byte
	shared bool // all workers have the key
	name   [2]byte
}

func newSealer(key [16]byte, shared bool) *sealer {
	s := &sealer{key: key, shared: shared}
	name := s.sum(contentHash{}) // of no content: those have a kind
	s.name = [2]byte(name[:2])
	return s
}

func (s *sealer) sum(h contentHash) [sha256.Size]byte {
	var b [25]byte // one block of SHA-256: with a key in front it needs no HMAC, for its length is fixed
	copy(b[:16], s.key[:])
	b[16] = h.kind
	copy(b[17:], h.sum[:])
	return sha256.Sum256(b[:])
}

// seal gives the print of a hash.
func (s *sealer) seal(h contentHash) (p print) {
	sum := s.sum(h)
	copy(p[:2], s.name[:])
	copy(p[2:], sum[:])
	return p
}

// sealer gives the one under the key that workers share, or, while there is none, under a key of this process alone.
func (w *Worker) sealer() *sealer {
	now := w.sealing.Load()
	if w.cfg.FingerprintKey == nil {
		return now
	}
	if key, ok := w.cfg.FingerprintKey(); ok && (!now.shared || key != now.key) {
		now = newSealer(key, true)
		w.sealing.Store(now)
	}
	return now
}

func ownSealer() *sealer {
	var key [16]byte
	_, _ = rand.Read(key[:]) // crypto/rand.Read never returns an error
	return newSealer(key, false)
}

// ledgerPrint is the ledger header with j's print; ok is false where it would say nothing to other workers. Copies of what is
// remembered by its bytes are hardly ever anything else, so that those go without.
func (j *job) ledgerPrint() (h kafka.Header, ok bool) {
	if !j.shared {
		return h, false
	}
	return kafka.Header{Key: notify.HeaderFingerprint, Value: hex.AppendEncode(nil, j.print[:])}, true
}

// readPrint reads what ledgerPrint writes; whatever else is there is unknown.
func readPrint(r *kafka.Record) (p print) {
	text, ok := r.Header(notify.HeaderFingerprint)
	if !ok || len(text) != 2*len(p) {
		return print{}
	}
	if _, err := hex.Decode(p[:], []byte(text)); err != nil {
		return print{}
	}
	return p
}

// dropOther ends a record that is another notification under a known id. It is dropped like a copy, and an event says so: the
// state of the notification stays as it is.
func (w *Worker) dropOther(a *kafka.Attempt, j *job) kafka.Result {
	w.drop(a, j)
	w.log.Warn("another notification came under a known id and is dropped: give every notification an id of its own",
		zap.String("id", j.id), zap.Int32("partition", a.Partition), zap.Int64("offset", a.Offset))
	e := w.event(j)
	e.State, e.Note, e.Warnings, e.Reference = notify.StateQueued, notify.NoteDuplicate, nil, ""
	e.Origin = &notify.Origin{Topic: a.Topic, Partition: a.Partition, Offset: a.Offset}
	res := w.cfg.Desk.End(a.Record, e)
	res.Ended = func(*kafka.Outcome) { w.counts.conflict.Inc() }
	return res
}
