package control

import (
	"net/url"
	"slices"
	"strings"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// A suppression of [KindSuppress] applies to all senders, and there is one key for each recipient. It is a person's decision;
// earlier versions wrote it for any reason. A suppression of [KindSuppression] has its reason and scope in the key, so that the
// entries of one recipient neither replace nor revoke each other. Earlier versions skip it.

const (
	allSenders  = "*"
	senderScope = "sender:"

	reasonBytes = 64
	maxReasons  = 64 // of a topic: a lookup asks for each of them
)

// SuppressFor returns an entry that suppresses a recipient for one of notify's reasons. address must be in the form that
// validation returns.
func SuppressFor(tenant string, channel notify.Channel, address, reason string) Entry {
	return Entry{Kind: KindSuppression, Tenant: tenant, Channel: channel, Address: address, Reason: reason}
}

// OptOut returns an entry that suppresses the texts of one sender to a recipient. sender is a number, a name or a messaging
// service.
func OptOut(tenant, sender, address string) Entry {
	e := SuppressFor(tenant, notify.ChannelSMS, address, notify.ReasonOptedOut)
	e.Scope, e.Sender = sender, sender
	return e
}

// spellScope returns the scope of a suppression as in its key.
func spellScope(sender string) string {
	if sender == "" {
		return allSenders
	}
	return senderScope + url.PathEscape(sender)
}

// parseSuppressionName parses the name of an entry of kind suppression: tenant, channel, reason, scope and address.
func parseSuppressionName(name string) (Entry, bool) {
	parts := strings.SplitN(name, "/", 5)
	if len(parts) < 5 {
		return Entry{}, false
	}
	e := SuppressFor(parts[0], notify.Channel(parts[1]), parts[4], parts[2])
	if escaped, ok := strings.CutPrefix(parts[3], senderScope); ok {
		sender, err := url.PathUnescape(escaped)
		if err != nil || sender == "" {
			return Entry{}, false
		}
		e.Scope, e.Sender = sender, sender
	}
	known := e.Tenant != "" && e.Channel.Known() && e.Address != "" && validReason(e.Reason)
	return e, known && e.Name() == name // another spelling would be another key
}

// validReason reports whether s can be the reason in a key.
func validReason(s string) bool {
	return s != "" && len(s) <= reasonBytes && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

// appendReasoned appends the name of an entry of kind suppression, see [Entry.Name]. scope is in the form that spellScope
// returns.
func appendReasoned(b []byte, tenant string, channel notify.Channel, reason, scope, address string) []byte {
	b = append(append(b, tenant...), '/')
	b = append(append(b, channel...), '/')
	b = append(append(b, reason...), '/')
	b = append(append(b, scope...), '/')
	return append(b, address...)
}

// lastingSet holds the names of suppressions of one kind. They outlast the topic.
type lastingSet struct {
	current *keySet // on the present topic
	carried *keySet // from the previous topic, and not seen on the present topic yet; nil when there is none
}

func newLastingSet() lastingSet { return lastingSet{current: newKeySet()} }

// apply adds or removes a name. It returns false for a name for which the set has no room.
func (l *lastingSet) apply(name []byte, set bool) bool {
	if l.carried != nil { // the entry of the present topic replaces it, set or revoked
		l.carried.remove(name)
	}
	if !set {
		l.current.remove(name)
		return true
	}
	return l.current.add(name)
}

func (l *lastingSet) has(name []byte) bool {
	return l.current.has(name) || l.carried != nil && l.carried.has(name)
}

func (l *lastingSet) len() int {
	if l.carried == nil {
		return l.current.len()
	}
	return l.current.len() + l.carried.len()
}

// restart prepares the set for a new topic: all names are carried until the topic has an entry with that name.
func (l *lastingSet) restart() {
	carried := l.current
	if l.carried != nil {
		for from := 0; from >= 0; {
			var keys [][]byte
			keys, from = l.carried.page(from, 500)
			for _, key := range keys {
				carried.add(key)
			}
		}
	}
	l.carried, l.current = carried, newKeySet()
}

// sets returns the sets that make up l.
func (l *lastingSet) sets() []*keySet {
	if l.carried == nil {
		return []*keySet{l.current}
	}
	return []*keySet{l.carried, l.current}
}

func (s *State) applySuppression(e Entry, set bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	into := &s.plain
	if e.Kind == KindSuppression {
		into = &s.reasoned
		if set && !s.addReasonLocked(e.Reason) {
			s.malformed.Add(1)
			return
		}
	}
	if !into.apply([]byte(e.Name()), set) {
		s.malformed.Add(1) // only with 4 GB of suppressions
	}
	s.countSuppressionsLocked()
}

// addReasonLocked adds a reason to the reasons of lookups. It returns false if there are too many.
func (s *State) addReasonLocked(reason string) bool {
	if slices.Contains(s.reasons, reason) {
		return true
	}
	if len(s.reasons) == maxReasons {
		return false
	}
	s.reasons = append(s.reasons, reason)
	return true
}

func (s *State) countSuppressionsLocked() { s.nSuppress.Store(int64(s.plain.len() + s.reasoned.len())) }

// Suppressed reports whether the recipient is suppressed for all senders. address must be in the form of notify.Message.
func (s *State) Suppressed(tenant string, channel notify.Channel, address string) bool {
	if s.nSuppress.Load() == 0 {
		return false
	}
	var on [512]byte // most names fit and need no allocation
	name := appendSuppression(on[:0], tenant, channel, address)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.plain.has(name) || s.forAnyReasonLocked(on[:0], tenant, channel, allSenders, address)
}

// SenderBlocked reports whether the recipient is suppressed for that sender of texts. It does not check whether the recipient
// is suppressed for all senders: see [State.Suppressed].
func (s *State) SenderBlocked(tenant string, channel notify.Channel, address, sender string) bool {
	if s.nSuppress.Load() == 0 || sender == "" {
		return false
	}
	var on [512]byte
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.forAnyReasonLocked(on[:0], tenant, channel, spellScope(sender), address)
}

// forAnyReasonLocked reports whether there is an entry of kind suppression with that scope, for any reason. It uses b as a
// buffer.
func (s *State) forAnyReasonLocked(b []byte, tenant string, channel notify.Channel, scope, address string) bool {
	for _, reason := range s.reasons {
		if s.reasoned.has(appendReasoned(b, tenant, channel, reason, scope, address)) {
			return true
		}
	}
	return false
}

// TenantsOf returns the tenants that have an entry like e, whose tenant is ignored. It iterates over all suppressions of kind
// suppression.
func (s *State) TenantsOf(e Entry) []string {
	e.Tenant = ""
	like := e.Name()
	s.mu.RLock()
	defer s.mu.RUnlock()
	var tenants []string
	for _, set := range s.reasoned.sets() {
		for name := range set.endingIn(like) {
			if tenant := name[:len(name)-len(like)]; !strings.Contains(tenant, "/") {
				tenants = append(tenants, tenant)
			}
		}
	}
	return tenants
}
