package store

import (
	"slices"
	"strconv"
	"strings"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// query is a statement that grows, with its arguments.
type query struct {
	strings.Builder
	args []any
}

// arg gives the name of an argument in the statement.
func (q *query) arg(v any) string {
	q.args = append(q.args, v)
	return "$" + strconv.Itoa(len(q.args))
}

// match says that a column is something.
type match struct{ column, value string }

// arm is a range of one index, in which the rows stand in the order of lists. Arms of one filter have no row in common, so
// that their rows only need to be merged.
type arm struct {
	matches []match
	only    string // the condition of a partial index, which the database must see to use it
}

// filter is one thing that is asked for: a row is in one of the arms.
type filter []arm

// filters gives what f asks for apart from the time. A list goes along the index of the first and looks at the rows for the
// others, so that which is likely to have the fewest rows comes first.
func filters(f *notify.LifeFilter) []filter {
	var all []filter
	add := func(value, column, only string) {
		if value != "" {
			all = append(all, filter{{[]match{{column, short(value)}}, only}})
		}
	}
	if r := short(f.Recipient); r != "" {
		all = append(all, filter{
			{[]match{{"address", r}}, "address <> ''"},
			{[]match{{"written", r}}, "written <> ''"}, // it is not the address there: no row is in both
		})
	}
	add(f.Reference, "reference", "reference <> ''")
	if len(f.States) > 0 {
		all = append(all, states(f.States))
	}
	add(f.Gateway, "gateway", "gateway <> ''")
	if f.Tenant != notify.DefaultTenant {
		add(f.Tenant, "tenant", "tenant <> '"+notify.DefaultTenant+"'")
	}
	if f.Channel != "" || f.Lane != "" {
		all = append(all, topics(f.Channel, f.Lane))
	}
	if f.Tenant == notify.DefaultTenant { // usually all rows: it has no index
		add(f.Tenant, "tenant", "")
	}
	return all
}

func states(asked []notify.State) filter {
	words := make([]string, len(asked))
	for i, s := range asked {
		words[i] = short(string(s))
	}
	slices.Sort(words)
	var arms filter
	for _, w := range slices.Compact(words) {
		arms = append(arms, arm{matches: []match{{"state", w}}})
	}
	return arms
}

// topics: one index serves channel, lane and both, by an arm for each value of the one that is not asked for.
func topics(channel notify.Channel, lane notify.Lane) filter {
	channels, lanes := []notify.Channel{channel}, []notify.Lane{lane}
	if channel == "" {
		channels = append(notify.Channels(), notify.ChannelWebhook)
	}
	if lane == "" {
		lanes = notify.Lanes()
	}
	var arms filter
	for _, c := range channels {
		for _, l := range lanes {
			arms = append(arms, arm{matches: []match{{"channel", short(string(c))}, {"lane", short(string(l))}}})
		}
	}
	return arms
}

// along writes the conditions by which a database goes along the index of a.
func (a arm) along(q *query) string {
	var all []string
	for _, m := range a.matches {
		all = append(all, m.column+" = "+q.arg(m.value))
	}
	if a.only != "" {
		all = append(all, a.only)
	}
	return strings.Join(all, " AND ")
}

// holds writes the condition that a row is in f, in a way in which no index serves: neither database knows which of two
// indexes has the fewer rows of what is asked for here.
func (f filter) holds(q *query) string {
	var any []string
	for _, a := range f {
		var all []string
		for _, m := range a.matches {
			all = append(all, m.column+" || '' = "+q.arg(m.value))
		}
		any = append(any, strings.Join(all, " AND "))
	}
	return "(" + strings.Join(any, " OR ") + ")"
}
