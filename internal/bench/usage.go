package bench

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// usage is what a process has taken of the machine. Where /proc does not exist, CPU is -1 and the others are 0.
type usage struct {
	cpu       time.Duration // user and system
	rss, peak float64       // MB
}

// clockTick is the unit of /proc/PID/stat. It is 100 per second on every Linux that Go supports.
const clockTick = 10 * time.Millisecond

func usageOf(pid int) usage {
	u := usage{cpu: -1}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u
	}
	// The second field is the name in parentheses, which may hold anything.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) > 12 {
		user, _ := strconv.ParseInt(fields[11], 10, 64)
		system, _ := strconv.ParseInt(fields[12], 10, 64)
		u.cpu = time.Duration(user+system) * clockTick
	}
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	u.rss, u.peak = kilobytes(status, "VmRSS:")/1000, kilobytes(status, "VmHWM:")/1000
	return u
}

func kilobytes(status []byte, name string) float64 {
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			n, _ := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
			return n * 1.024
		}
	}
	return 0
}

// meter measures the CPU time of some processes from a moment on.
type meter struct {
	names  []string
	pids   map[string]int
	before map[string]time.Duration
	began  time.Time
}

func newMeter() *meter { return &meter{pids: map[string]int{}, before: map[string]time.Duration{}} }

// watch adds a process; a pid of 0 is none.
func (m *meter) watch(name string, pid int) {
	if pid > 0 {
		m.names, m.pids[name] = append(m.names, name), pid
	}
}

func (m *meter) start() {
	m.began = time.Now()
	for name, pid := range m.pids {
		m.before[name] = usageOf(pid).cpu
	}
}

// reading is what the processes have used since the start of a meter.
type reading struct {
	took time.Duration
	cpu  map[string]time.Duration // -1 where it is not known
	peak map[string]float64
	rss  map[string]float64
}

func (m *meter) read() reading {
	r := reading{took: time.Since(m.began), cpu: map[string]time.Duration{}, peak: map[string]float64{}, rss: map[string]float64{}}
	for name, pid := range m.pids {
		u := usageOf(pid)
		r.cpu[name], r.peak[name], r.rss[name] = -1, u.peak, u.rss
		if u.cpu >= 0 && m.before[name] >= 0 {
			r.cpu[name] = u.cpu - m.before[name]
		}
	}
	return r
}

// core returns the share of one core in percent, -1 where it is not known.
func (r reading) core(name string) float64 {
	if r.cpu[name] < 0 {
		return -1
	}
	return 100 * float64(r.cpu[name]) / float64(r.took)
}
