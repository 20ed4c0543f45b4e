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

// GatewayState is what a worker process reports about a gateway that it cannot call.
type GatewayState struct {
	Circuit string           `json:"circuit"`        // of its circuit breaker: open or half-open
	Pace    float64          `json:"pace,omitempty"` // calls a second that the process may make; 0: no limit
	Since   time.Time        `json:"since"`          // when the circuit breaker opened
	Lanes   []LanePartitions `json:"lanes"`          // on whose jobs the process works by this gateway
}

// LanePartitions are the partitions of a lane's topic on which a process works.
type LanePartitions struct {
	Channel    notify.Channel `json:"channel"`
	Lane       notify.Lane    `json:"lane"`
	Partitions Partitions     `json:"partitions"`
	Of         int32          `json:"of"` // how many the topic has
}

const (
	// ReportLasts is how long a report holds that is not renewed.
	ReportLasts = 90 * time.Second

	longestReport = 10 * time.Minute // whatever a report says of its expiry
	reportCode    = 64
	reportReason  = 255
	mostLanes     = 16     // of one report
	mostReports   = 2048   // that are kept
	mostAllRanges = 65_536 // of all reports that are kept
)

// ReportGateway is the entry by which a process reports that it cannot call a gateway. It ends with ReportLasts, or by its
// tombstone.
func ReportGateway(gateway, process string, at time.Time, s GatewayState) Entry {
	return Entry{Kind: KindGateway, Gateway: gateway, Process: process, At: at, ExpiresAt: at.Add(ReportLasts), State: &s}
}

// processName is the shape of the names of gateways and processes in keys: host:port, as a rule.
var processName = regexp.MustCompile(`^[A-Za-z0-9._:\[\]-]{1,128}$`)

// ProcessName makes a name fit for [ReportGateway].
func ProcessName(name string) string {
	fit := strings.Map(func(r rune) rune {
		if processName.MatchString(string(r)) {
			return r
		}
		return '-'
	}, name)
	return cmp.Or(fit[:min(len(fit), 128)], "-")
}

func namedReport(name string) (Entry, bool) {
	gateway, process, ok := strings.Cut(name, "/")
	return Entry{Kind: KindGateway, Gateway: gateway, Process: process}, ok && processName.MatchString(gateway) && processName.MatchString(process)
}

// report encodes an entry of kind gateway. v has what entries of all kinds have.
func (e Entry) report(v value) []byte {
	expires := e.ExpiresAt.UTC()
	v.ExpiresAt, v.Code, v.Reason = &expires, notify.Clip(e.Code, reportCode), notify.Clip(e.Reason, reportReason)
	r := report{v, *e.State}
	r.Since = r.Since.UTC()
	encoded, _ := json.Marshal(r) // fails only for a time outside the years 0 to 9999, and both are of the clock
	return encoded
}

// readReport reads what report writes; at is the record's own time.
func (e *Entry) readReport(content []byte, at time.Time) error {
	var r report
	if json.Unmarshal(content, &r) != nil || !r.sound() {
		return fmt.Errorf("%w: it does not say how the gateway is", ErrMalformed)
	}
	e.State, e.ExpiresAt = &r.GatewayState, at.Add(longestReport)
	if r.ExpiresAt != nil {
		e.ExpiresAt = earlier(*r.ExpiresAt, e.ExpiresAt)
	}
	e.Code, e.Reason = notify.Clip(r.Code, reportCode), notify.Clip(r.Reason, reportReason)
	return nil
}

// sound reports whether s, from a record, can be kept.
func (s *GatewayState) sound() bool {
	if s.Circuit != "open" && s.Circuit != "half-open" || len(s.Lanes) > mostLanes {
		return false
	}
	for _, l := range s.Lanes {
		if l.Of < 1 || l.Of > mostPartitions || len(l.Partitions) > 0 && l.Partitions[len(l.Partitions)-1].to > l.Of {
			return false
		}
	}
	return s.ranges() <= mostRanges
}

func (s *GatewayState) ranges() (n int) {
	for _, l := range s.Lanes {
		n += len(l.Partitions)
	}
	return n
}

// on returns the partitions of a lane on which the process works; of is 0 when it does not work on the lane.
func (s *GatewayState) on(ch notify.Channel, lane notify.Lane) (p Partitions, of int32) {
	for _, l := range s.Lanes {
		if l.Channel == ch && l.Lane == lane {
			return l.Partitions, l.Of
		}
	}
	return nil, 0
}

// report takes a report in, or its tombstone. The limits bound memory when the topic holds hostile records.
func (s *State) report(e Entry, set bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := reporter{e.Gateway, e.Process}
	s.forgetReportLocked(key)
	if !set {
		return
	}
	now := time.Now()
	e.ExpiresAt = earlier(e.ExpiresAt, now.Add(longestReport)) // by the clock of this host, too
	if len(s.reports) >= mostReports || s.ranges+e.State.ranges() > mostAllRanges {
		for k, old := range s.reports {
			if !now.Before(old.ExpiresAt) {
				s.forgetReportLocked(k)
			}
		}
	}
	if len(s.reports) >= mostReports || s.ranges+e.State.ranges() > mostAllRanges {
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

// reporter is a gateway in a process.
type reporter struct{ gateway, process string }

// Reports returns the reports that hold, by gateway and process.
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

// expiredReportsLocked appends tombstones of reports whose time is over, up to [mostTombstones] records in all.
func (s *State) expiredReportsLocked(all []Record, now time.Time) []Record {
	for _, e := range s.reports {
		if len(all) == mostTombstones {
			break
		}
		if now.After(e.ExpiresAt.Add(keepExpiredReports)) {
			all = append(all, e.Tombstone())
		}
	}
	return all
}
