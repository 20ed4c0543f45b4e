package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// scanLimit is how many rows of an index a page looks at where a second filter may leave most of them out. The page then
// ends early, with a cursor to go on.
const scanLimit = 5_000

// List gives the page of at most limit notifications after cursor, by the time at which they were accepted, the latest
// first; or [notify.ErrBadCursor]. A page may have fewer, or none, although Next says that there may be more.
//
// One filter goes along its index, with any range of time. With more filters the one that is first in [filters] does, and a
// page looks at scanLimit of its rows.
func (s *Store) List(ctx context.Context, f notify.LifeFilter, cursor string, limit int) (notify.Lives, error) {
	limit = max(limit, 1)
	after, err := parseCursor(cursor)
	if err != nil {
		return notify.Lives{}, err
	}
	l := newListing(&f, after)
	if len(l.others) == 0 {
		page, err := s.page(ctx, l, limit)
		return page, unavailable("reading a page", err)
	}
	page, err := s.search(ctx, l, limit)
	return page, unavailable("searching for a page", err)
}

// search looks at more and more rows, so that a page whose filters leave out little is as fast as one with a single filter.
func (s *Store) search(ctx context.Context, l *listing, limit int) (all notify.Lives, err error) {
	all.Data = []notify.Life{}
	for looked, n := 0, 4*limit; looked < s.scan && len(all.Data) < limit; looked, n = looked+n, 4*n {
		n = min(n, s.scan-looked)
		to, err := s.edge(ctx, l, n)
		if err != nil {
			return all, err
		}
		if l.until = to; to == nil {
			l.until = l.since
		}
		page, err := s.page(ctx, l, limit-len(all.Data))
		if err != nil {
			return all, err
		}
		all.Data, all.Next = append(all.Data, page.Data...), page.Next
		if to == nil {
			break
		}
		if all.Next == "" {
			all.Next = to.cursor()
		}
		l.before = to
	}
	return all, nil
}

// listing is a list that is asked for: along the arms, from one edge to another, those rows for which the others hold.
type listing struct {
	arms   filter
	others []filter
	since  *edge // the lowest row that is asked for
	before *edge // rows are lower: the last row of the page before, or a time
	until  *edge // the lowest row to look at now; not below since
}

func newListing(f *notify.LifeFilter, after *edge) *listing {
	l := &listing{arms: filter{{}}, before: after}
	if !f.Since.IsZero() {
		l.since = &edge{at: micros(f.Since)} // no row has the number 0
	}
	if u := (edge{at: micros(f.Until)}); !f.Until.IsZero() && (after == nil || u.at <= after.at) {
		l.before = &u
	}
	l.until = l.since
	all := filters(f)
	if len(all) > 0 && indexed(all[0]) {
		l.arms, all = all[0], all[1:]
	}
	l.others = all
	return l
}

// indexed: the tenant that most rows have is the one filter that goes along all rows.
func indexed(f filter) bool {
	return f[0].matches[0] != match{"tenant", notify.DefaultTenant}
}

// along writes the select of columns from one arm, from an edge on. There is one bound on each side: of two, SQLite would go by
// either and look at all rows between them.
func (l *listing) along(q *query, a arm, from *edge, columns string) {
	q.WriteString("SELECT " + columns + " FROM notifications WHERE TRUE")
	if c := a.along(q); c != "" {
		q.WriteString(" AND " + c)
	}
	if from != nil {
		q.WriteString(" AND (accepted_at, line) >= (" + q.arg(from.at) + ", " + q.arg(from.line) + ")")
	}
	if l.before != nil {
		q.WriteString(" AND (accepted_at, line) < (" + q.arg(l.before.at) + ", " + q.arg(l.before.line) + ")")
	}
}

// edge gives the last of the next n rows; nil where fewer are left.
func (s *Store) edge(ctx context.Context, l *listing, n int) (*edge, error) {
	var q query
	var e edge
	q.WriteString("SELECT accepted_at, line FROM (")
	for i, a := range l.arms {
		if i > 0 {
			q.WriteString(" UNION ALL ")
		}
		q.WriteString("SELECT * FROM (")
		l.along(&q, a, l.since, "accepted_at, line")
		q.WriteString(descending + " LIMIT 1 OFFSET " + q.arg(n/len(l.arms)) + ") AS arm")
	}
	q.WriteString(") AS arms" + descending + " LIMIT 1")
	err := s.read.QueryRowContext(ctx, q.String(), q.args...).Scan(&e.at, &e.line)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return &e, err
}

const descending = " ORDER BY accepted_at DESC, line DESC"

func (l *listing) page(limit int) *query {
	q := &query{}
	q.WriteString("SELECT " + lifeColumns + ", n.line FROM (")
	for i, a := range l.arms {
		if i > 0 {
			q.WriteString(" UNION ALL ")
		}
		q.WriteString("SELECT * FROM (")
		l.along(q, a, l.until, "*")
		for _, o := range l.others {
			q.WriteString(" AND " + o.holds(q))
		}
		q.WriteString(descending + " LIMIT " + q.arg(limit+1) + ") AS arm")
	}
	q.WriteString(") AS n" + descending + " LIMIT " + q.arg(limit+1))
	return q
}

// page reads one row more than it gives, to know whether there is one.
func (s *Store) page(ctx context.Context, l *listing, limit int) (notify.Lives, error) {
	q := l.page(limit)
	rows, err := s.read.QueryContext(ctx, q.String(), q.args...)
	if err != nil {
		return notify.Lives{}, err
	}
	defer rows.Close()
	page := notify.Lives{Data: []notify.Life{}}
	var last edge
	for rows.Next() {
		if len(page.Data) == limit {
			page.Next = last.cursor()
			break
		}
		life, err := scanLife(func(to ...any) error { return rows.Scan(append(to, &last.line)...) })
		if err != nil {
			return notify.Lives{}, err
		}
		last.at = micros(life.AcceptedAt)
		page.Data = append(page.Data, life)
	}
	return page, rows.Err()
}
