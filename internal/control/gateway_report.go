package control

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// GatewayState is the state of a gateway that a worker process cannot call.
type GatewayState struct {
	Circuit string           `json:"circuit"`        // state of its circuit breaker: open or half-open
	Pace    float64          `json:"pace,omitempty"` // calls per second that the process may make; 0 = no limit
	Since   time.Time        `json:"since"`          // when the circuit breaker opened
	Lanes   []LanePartitions `json:"lanes"`          // the lanes whose jobs the process sends by this gateway
}

// LanePartitions are the partitions of a lane's topic that are assigned to a process.
type LanePartitions struct {
	Channel    notify.Channel `json:"channel"`
	Lane       notify.Lane    `json:"lane"`
	Partitions Partitions     `json:"partitions"`
	Of         int32          `json:"of"` // number of partitions of the topic
}

const (
	// ReportLasts is how long a report is valid unless it is renewed.
	ReportLasts = 90 * time.Second

	maxReportLifetime = 10 * time.Minute // upper limit of the expiry in a report
	reportCode        = 64
	reportReason      = 255
	maxReportLanes    = 16     // in one report
	maxReports        = 2048   // stored reports
	maxTotalRanges    = 65_536 // in all stored reports
)

// ReportGateway returns the entry by which a process reports that it cannot call a gateway. The report ends after ReportLasts,
// or by its tombstone.
func ReportGateway(gateway, process string, at time.Time, s GatewayState) Entry {
	return Entry{Kind: KindGateway, Gateway: gateway, Process: process, At: at, ExpiresAt: at.Add(ReportLasts), State: &s}
}

// processName matches the names of gateways and processes in keys. Process names are usually host:port.
var processName = regexp.MustCompile(`^[A-Za-z0-9._:\[\]-]{1,128}$`)

// ProcessName returns name with each character that [ReportGateway] does not allow replaced.
func ProcessName(name string) string {
	fit := strings.Map(func(r rune) rune {
		if processName.MatchString(string(r)) {
			return r
		}
		return '-'
	}, name)
	return cmp.Or(fit[:min(len(fit), 128)], "-")
}

func parseReportName(name string) (Entry, bool) {
	gateway, process, ok := strings.Cut(name, "/")
	return Entry{Kind: KindGateway, Gateway: gateway, Process: process}, ok && processName.MatchString(gateway) && processName.MatchString(process)
}

// encodeReport returns the JSON of an entry of kind gateway. v holds the fields that all kinds have.
func (e Entry) encodeReport(v recordJSON) []byte {
	expires := e.ExpiresAt.UTC()
	v.ExpiresAt = &expires
	v.Code = notify.Clip(e.Code, reportCode)
	v.Reason = notify.Clip(e.Reason, reportReason)
	r := reportJSON{v, *e.State}
	r.Since = r.Since.UTC()
	encoded, _ := json.Marshal(r) // fails only for a time outside the years 0 to 9999, and both times come from the clock
	return encoded
}

// decodeReport sets the fields of a report from its JSON. at is the time of the record.
func (e *Entry) decodeReport(content []byte, at time.Time) error {
	var r reportJSON
	if json.Unmarshal(content, &r) != nil || !r.valid() {
		return fmt.Errorf("%w: it does not say how the gateway is", ErrMalformed)
	}
	e.State, e.ExpiresAt = &r.GatewayState, at.Add(maxReportLifetime)
	if r.ExpiresAt != nil {
		e.ExpiresAt = earlier(*r.ExpiresAt, e.ExpiresAt)
	}
	e.Code, e.Reason = notify.Clip(r.Code, reportCode), notify.Clip(r.Reason, reportReason)
	return nil
}

// valid reports whether a state from a record may be stored.
func (s *GatewayState) valid() bool {
	if s.Circuit != "open" && s.Circuit != "half-open" || len(s.Lanes) > maxReportLanes {
		return false
	}
	for _, l := range s.Lanes {
		if l.Of < 1 || l.Of > maxPartitions || len(l.Partitions) > 0 && l.Partitions[len(l.Partitions)-1].to > l.Of {
			return false
		}
	}
	return s.ranges() <= maxRanges
}

func (s *GatewayState) ranges() int {
	n := 0
	for _, l := range s.Lanes {
		n += len(l.Partitions)
	}
	return n
}

// partitionsOf returns the partitions of a lane that are assigned to the process. of is 0 if the process has none.
func (s *GatewayState) partitionsOf(ch notify.Channel, lane notify.Lane) (p Partitions, of int32) {
	for _, l := range s.Lanes {
		if l.Channel == ch && l.Lane == lane {
			return l.Partitions, l.Of
		}
	}
	return nil, 0
}

// applyReport stores a report, or removes it if set is false. The limits bound the memory when the topic holds hostile records.
func (s *State) applyReport(e Entry, set bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := reporter{e.Gateway, e.Process}
	s.forgetReportLocked(key)
	if !set {
		return
	}
	now := time.Now()
	e.ExpiresAt = earlier(e.ExpiresAt, now.Add(maxReportLifetime)) // also by the clock of this host
	if len(s.reports) >= maxReports || s.ranges+e.State.ranges() > maxTotalRanges {
		for k, old := range s.reports {
			if !now.Before(old.ExpiresAt) {
				s.forgetReportLocked(k)
			}
		}
	}
	if len(s.reports) >= maxReports || s.ranges+e.State.ranges() > maxTotalRanges {
		s.malformed.Add(1)
		return
	}
	s.reports[key] = e
	s.ranges += e.State.ranges()
}

func (s *State) forgetReportLocked(key reporter) {
	if old, ok := s.reports[key]; ok {
		s.ranges -= old.State.ranges()
		delete(s.reports, key)
	}
}

// reporter is the key of a report.
type reporter struct{ gateway, process string }

// Reports returns the valid reports, ordered by gateway and process.
func (s *State) Reports(now time.Time) []Entry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var all []Entry
	for _, e := range s.reports {
		if now.Before(e.ExpiresAt) {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Gateway, b.Gateway), cmp.Compare(a.Process, b.Process))
	})
	return all
}

// keepExpiredReports is how long after its expiry a report gets a tombstone: its process may only have been slow to renew it.
const keepExpiredReports = 10 * time.Minute

// expiredReportsLocked appends tombstones of the expired reports, until all has [maxTombstones] records.
func (s *State) expiredReportsLocked(all []Record, now time.Time) []Record {
	for _, e := range s.reports {
		if len(all) == maxTombstones {
			break
		}
		if now.After(e.ExpiresAt.Add(keepExpiredReports)) {
			all = append(all, e.Tombstone())
		}
	}
	return all
}
