package store

import (
	"cmp"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/status"
)

// line is what a batch, or the store, says of one notification: a row of notifications.
type line struct {
	id       string
	expunged bool
	known    bool // the store has a row of it
	jobRead  bool // and that of a job
	*origin       // nil for none that could win
	standing
	place   place
	content *content // nil for none
}

// place is where the furthest record is that is known: the record of the highest stage, of several the one in the newest log,
// and there the last one.
type place struct{ stage, log, at int64 }

// noPlace is the place of a notification none of whose records is known.
var noPlace = place{stage: -1} //nolint:gochecknoglobals // nobody changes it

func (p place) before(q place) bool {
	return cmp.Or(cmp.Compare(p.stage, q.stage), cmp.Compare(p.log, q.log), cmp.Compare(p.at, q.at)) < 0
}

const (
	stepBits   = 31
	offsetBits = 47 // the partition is above; an offset beyond it would take a partition millions of years
)

// placeOf gives a place as the columns have it. logs has the numbers of the logs.
func placeOf(p *status.RecordPlace, logs map[status.Log]int64) place {
	if p.Topic == "" {
		return noPlace
	}
	const runs, steps, offsets = 1<<24 - 1, 1<<stepBits - 1, 1<<offsetBits - 1
	return place{
		stage: int64(min(max(p.Run, 0), runs))<<stepBits | int64(min(max(p.Step, 0), steps)),
		log:   logs[p.Log],
		at:    int64(p.Partition)<<offsetBits | min(max(p.Offset, 0), offsets),
	}
}

// spread is the inverse of placeOf, apart from the log.
func (p place) spread() status.RecordPlace {
	return status.RecordPlace{
		Run: int(p.stage >> stepBits), Step: int(p.stage & (1<<stepBits - 1)),
		Partition: int32(p.at >> offsetBits), Offset: p.at & (1<<offsetBits - 1),
	}
}

// origin is what was accepted. The order of these is the order of the columns, and the key comes first.
type origin struct {
	unread                           int64 // 1 while no job has been read
	acceptedAt, source               int64
	tenant, channel, lane            string
	recipient, address, written      string
	recipientType, reference, labels string
	sendAt, expiresAt                *int64
	sensitive                        bool
	fingerprint                      string // see [secret.ofJob]
}

// before reports whether o is what counts of the two.
func (o *origin) before(p *origin) bool {
	return cmp.Or(cmp.Compare(o.unread, p.unread), cmp.Compare(o.acceptedAt, p.acceptedAt), cmp.Compare(o.source, p.source)) < 0
}

// standing is what became of it: what an event says. The key comes first.
type standing struct {
	place, at                         int64
	event                             string
	sum                               int64
	state                             string
	final                             bool
	run, step, attempt                int64
	gateway, code, reason, providerID string
	simulated                         bool
	nextAt                            *int64
}

// after reports whether s is what counts of the two.
func (s *standing) after(t *standing) bool {
	return cmp.Or(cmp.Compare(t.place, s.place), cmp.Compare(s.at, t.at), cmp.Compare(s.event, t.event), cmp.Compare(s.sum, t.sum)) < 0
}

// originOf is what c says of what was accepted, without its payload.
func originOf(c *status.Change) *origin {
	o := &origin{
		unread: 1, acceptedAt: micros(c.Event.At),
		tenant: short(c.Event.Tenant), channel: short(string(c.Event.Channel)), lane: short(string(c.Event.Lane)),
		reference: short(c.Event.Reference),
	}
	var payload []byte
	if j := c.Job; j != nil {
		o.unread, o.acceptedAt = 0, micros(j.AcceptedAt)
		o.recipient, o.address, o.recipientType = clean(j.Recipient), short(j.Address), clean(j.RecipientType)
		if w := short(j.Recipient); w != o.address {
			o.written = w
		}
		o.labels = labels(j.Metadata)
		o.sendAt, o.expiresAt, o.sensitive = microsOf(j.SendAt), microsOf(j.ExpiresAt), j.Sensitive
		payload = j.Payload
	}
	o.source = o.checksum(payload)
	return o
}

func (o *origin) checksum(payload []byte) int64 {
	var rest []byte
	for _, at := range []*int64{o.sendAt, o.expiresAt} {
		if at != nil {
			rest = strconv.AppendInt(rest, *at, 10)
		}
		rest = append(rest, 0)
	}
	if o.sensitive {
		rest = append(rest, "sensitive"...)
	}
	words := strings.Join([]string{o.tenant, o.channel, o.lane, o.recipient, o.address, o.recipientType, o.reference, o.labels, ""}, "\x00")
	return checksum([]byte(words), payload, rest)
}

// labels gives metadata as JSON, by name; nothing for none.
func labels(metadata map[string]string) string {
	if len(metadata) == 0 {
		return ""
	}
	b, _ := json.Marshal(metadata) // a map of strings has a JSON form
	return clean(string(b))
}

// standingOf is what e says of what became of it; body is its JSON.
func standingOf(e *notify.Event, body string) standing {
	return standing{
		place: status.Place(e), at: micros(e.At), event: short(e.EventID), sum: checksum([]byte(body)),
		state: short(string(e.State)), final: e.Final, run: int64(e.Run), step: int64(e.Step), attempt: int64(e.Attempt),
		gateway: short(e.Gateway), code: clean(e.Code), reason: clean(e.Reason), providerID: short(e.ProviderID),
		simulated: e.Simulated, nextAt: microsOf(e.NextAt),
	}
}
