package bench

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Result is what a run has measured: one JSON object, or a table.
type Result struct {
	Bench    string   `json:"bench"`
	Settings string   `json:"settings"`
	Machine  string   `json:"machine"`
	Version  string   `json:"version"`
	Baseline string   `json:"baseline,omitempty"` // name of the baseline: "bare" or "direct"
	Judged   bool     `json:"judged"`             // false with --short, and for a void run
	Void     string   `json:"void,omitempty"`
	Rows     []Row    `json:"rows"`
	Audit    Audit    `json:"audit"`
	Notes    []string `json:"notes,omitempty"`
}

// Row is one figure, of the baseline and of Laudspeaker. A side that does not have the figure is nil.
type Row struct {
	Name     string  `json:"name"`
	Unit     string  `json:"unit,omitempty"`
	Baseline *Spread `json:"baseline,omitempty"`
	Ours     *Spread `json:"laudspeaker,omitempty"`
	Ratio    *Spread `json:"ratio,omitempty"`
	Target   *Target `json:"target,omitempty"`
	Met      *bool   `json:"met,omitempty"`
}

// Audit compares what the API has accepted with what the sink, or the log, has accepted, message by message.
type Audit struct {
	Accepted   int `json:"accepted"`
	Delivered  int `json:"delivered"`
	Rejected   int `json:"rejected,omitempty"` // by the sink, for good
	Lost       int `json:"lost"`
	Duplicated int `json:"duplicated"`
	Refused    int `json:"refused,omitempty"` // requests that the API did not accept
}

func (a *Audit) add(b Audit) {
	a.Accepted += b.Accepted
	a.Delivered += b.Delivered
	a.Rejected += b.Rejected
	a.Lost += b.Lost
	a.Duplicated += b.Duplicated
	a.Refused += b.Refused
}

// figures collects the values of the legs by the name of their row, in the order in which the names first appear.
type figures struct {
	names  []string
	units  map[string]string
	values map[string]*[2][]float64
}

// The two sides of a row.
const (
	baseline = 0
	ours     = 1
)

func newFigures() *figures {
	return &figures{units: map[string]string{}, values: map[string]*[2][]float64{}}
}

func (f *figures) add(side int, name, unit string, value float64) {
	if f.values[name] == nil {
		f.names = append(f.names, name)
		f.units[name], f.values[name] = unit, &[2][]float64{}
	}
	f.values[name][side] = append(f.values[name][side], value)
}

// rows leaves out what no leg has a value for.
func (f *figures) rows(targets map[string]Target, judge bool) []Row {
	rows := make([]Row, 0, len(f.names))
	for _, name := range f.names {
		both := f.values[name]
		r := Row{
			Name: name, Unit: f.units[name], Baseline: spreadOf(both[baseline]), Ours: spreadOf(both[ours]),
			Ratio: spreadOf(ratiosOf(both[ours], both[baseline])),
		}
		if r.Baseline == nil && r.Ours == nil {
			continue
		}
		if t, ok := targets[name]; ok {
			r.Target = &t
			if met, known := t.met(&r); judge && known {
				r.Met = &met
			}
		}
		rows = append(rows, r)
	}
	return rows
}

// Print writes the table for people.
func (r *Result) Print(w io.Writer) error {
	fmt.Fprintf(w, "%s: %s\n%s, %s\n\n", r.Bench, r.Settings, r.Machine, r.Version)
	var padded strings.Builder
	table := tabwriter.NewWriter(&padded, 0, 0, 3, ' ', 0)
	head := []string{"", r.Baseline, "laudspeaker", "ratio", "target"}
	if r.Baseline == "" {
		head = []string{"", "laudspeaker", "target"}
	}
	fmt.Fprintln(table, strings.Join(head, "\t"))
	for i := range r.Rows {
		fmt.Fprintln(table, strings.Join(r.cells(&r.Rows[i]), "\t"))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(padded.String()) {
		fmt.Fprintln(w, strings.TrimRight(line, " \n"))
	}
	a := r.Audit
	fmt.Fprintf(w, "\naccepted %s, delivered %s, rejected by the sink %s, lost %s, duplicated %s, refused by the API %s\n",
		whole(a.Accepted), whole(a.Delivered), whole(a.Rejected), whole(a.Lost), whole(a.Duplicated), whole(a.Refused))
	for _, note := range r.Notes {
		fmt.Fprintln(w, "note:", note)
	}
	if r.Void != "" {
		fmt.Fprintln(w, "void:", r.Void)
	}
	return nil
}

func (r *Result) cells(row *Row) []string {
	name := row.Name
	if row.Unit != "" {
		name += ", " + row.Unit
	}
	target := ""
	if row.Target != nil {
		target = row.Target.String()
	}
	if row.Met != nil {
		target += map[bool]string{true: ": met", false: ": missed"}[*row.Met]
	}
	if r.Baseline == "" {
		return []string{name, cell(row.Ours), target}
	}
	return []string{name, cell(row.Baseline), cell(row.Ours), cell(row.Ratio), target}
}

// cell shows the median, and the extremes where there are several legs.
func cell(s *Spread) string {
	switch {
	case s == nil:
		return "-"
	case len(s.Legs) == 1:
		return number(s.Median)
	}
	return fmt.Sprintf("%s (%s to %s)", number(s.Median), number(s.Min), number(s.Max))
}

// number shows three significant digits, and whole numbers from 100 on.
func number(v float64) string {
	switch size := math.Abs(v); {
	case size >= 100:
		return whole(int(math.Round(v)))
	case size >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
}

// whole groups the digits in threes.
func whole(n int) string {
	digits := []byte(strconv.Itoa(n))
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = slices.Insert(digits, i, ',')
	}
	return string(digits)
}
