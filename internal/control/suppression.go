package control

import (
	"net/url"
	"slices"
	"strings"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// A suppression of [KindSuppress] holds for a recipient whoever sends, and has one key: a person's decision, and what earlier
// versions wrote for any reason. One of [KindSuppression] has its reason and its scope in the key, so that the entries of one
// recipient neither replace nor take back each other. Earlier versions skip it.

const (
	allSenders  = "*"
	senderScope = "sender:"

	reasonBytes = 64
	mostReasons = 64 // of a topic: a lookup asks for each of them
)

// SuppressFor keeps everything from a recipient for one of notify's reasons. address is as validation gives it.
func SuppressFor(tenant string, channel notify.Channel, address, reason string) Entry {
	return Entry{Kind: KindSuppression, Tenant: tenant, Channel: channel, Address: address, Reason: reason}
}

// OptOut keeps the texts of one sender from a recipient: sender is a number, a name or a messaging service.
func OptOut(tenant, sender, address string) Entry {
	e := SuppressFor(tenant, notify.ChannelSMS, address, notify.ReasonOptedOut)
	e.Scope, e.Sender = sender, sender
	return e
}

// spellScope returns the scope of a suppression as its key has it.
func spellScope(sender string) string {
	if sender == "" {
		return allSenders
	}
	return senderScope + url.PathEscape(sender)
}

// namedReasoned parses the name of an entry of kind suppression: tenant, channel, reason, scope and address.
func namedReasoned(name string) (Entry, bool) {
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
	known := e.Tenant != "" && e.Channel.Known() && e.Address != "" && reasonWord(e.Reason)
	return e, known && e.Name() == name // another spelling would be another key
}

// reasonWord reports whether s can be the reason in a key.
func reasonWord(s string) bool {
	return s != "" && len(s) <= reasonBytes && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

// appendReasoned spells the name of an entry of kind suppression, see [Entry.Name]. scope is as spellScope gives it.
func appendReasoned(b []byte, tenant string, channel notify.Channel, reason, scope, address string) []byte {
	b = append(append(b, tenant...), '/')
	b = append(append(b, channel...), '/')
	b = append(append(b, reason...), '/')
	b = append(append(b, scope...), '/')
	return append(b, address...)
}

// lastingSet holds the names of suppressions of one kind. They outlast the topic.
type lastingSet struct {
	now     *keySet // of this topic
	carried *keySet // of the topic before, not met in this one yet; nil when there are none
}

func newLastingSet() lastingSet { return lastingSet{now: newKeySet()} }

// apply takes in what the topic says of a name. It reports false for a name that the set has no room for.
func (l *lastingSet) apply(name []byte, set bool) (ok bool) {
	if l.carried != nil { // what the topic says now counts, whichever it is
		l.carried.remove(name)
	}
	if !set {
		l.now.remove(name)
		return true
	}
	return l.now.add(name)
}

func (l *lastingSet) has(name []byte) bool {
	return l.now.has(name) || l.carried != nil && l.carried.has(name)
}

func (l *lastingSet) len() int {
	if l.carried == nil {
		return l.now.len()
	}
	return l.now.len() + l.carried.len()
}

// restart begins with another topic: what is known is carried until that topic says something about it.
func (l *lastingSet) restart() {
	carried := l.now
	if l.carried != nil {
		for from := 0; from >= 0; {
			var keys [][]byte
			keys, from = l.carried.page(from, 500)
			for _, key := range keys {
				carried.add(key)
			}
		}
	}
	l.carried, l.now = carried, newKeySet()
}

// sets lists what there is.
func (l *lastingSet) sets() []*keySet {
	if l.carried == nil {
		return []*keySet{l.now}
	}
	return []*keySet{l.carried, l.now}
}

func (s *State) suppress(e Entry, set bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	into := &s.plain
	if e.Kind == KindSuppression {
		if into = &s.reasoned; set && !s.knowReasonLocked(e.Reason) {
			s.malformed.Add(1)
			return
		}
	}
	if !into.apply([]byte(e.Name()), set) {
		s.malformed.Add(1) // 4 GB of suppressions are in memory: no host has come so far
	}
	s.countSuppressed()
}

// knowReasonLocked reports whether lookups ask for that reason from now on.
func (s *State) knowReasonLocked(reason string) bool {
	if slices.Contains(s.reasons, reason) {
		return true
	}
	if len(s.reasons) == mostReasons {
		return false
	}
	s.reasons = append(s.reasons, reason)
	return true
}

func (s *State) countSuppressed() { s.nSuppress.Store(int64(s.plain.len() + s.reasoned.len())) }

// Suppressed reports whether nothing may be sent to the recipient, whoever the sender is. address is as notify.Message has it.
func (s *State) Suppressed(tenant string, channel notify.Channel, address string) bool {
	if s.nSuppress.Load() == 0 {
		return false
	}
	var on [512]byte // most addresses fit, and need no memory of their own
	name := appendSuppression(on[:0], tenant, channel, address)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.plain.has(name) || s.forAnyReasonLocked(on[:0], tenant, channel, allSenders, address)
}

// SenderBlocked reports whether the recipient gets no texts of that sender. A recipient who is suppressed for all senders is the
// business of [State.Suppressed].
func (s *State) SenderBlocked(tenant string, channel notify.Channel, address, sender string) bool {
	if s.nSuppress.Load() == 0 || sender == "" {
		return false
	}
	var on [512]byte
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.forAnyReasonLocked(on[:0], tenant, channel, spellScope(sender), address)
}

// forAnyReasonLocked reports whether there is an entry of kind suppression with that scope. It writes names to b.
func (s *State) forAnyReasonLocked(b []byte, tenant string, channel notify.Channel, scope, address string) bool {
	for _, reason := range s.reasons {
		if s.reasoned.has(appendReasoned(b, tenant, channel, reason, scope, address)) {
			return true
		}
	}
	return false
}

// TenantsOf lists the tenants that have an entry like e, which names all but the tenant. It looks at every suppression.
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
