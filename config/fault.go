package config

import (
	"fmt"
	"strings"
)

// Faults is everything wrong with a configuration, each a sentence that names the key and the remedy.
type Faults []string

func (fs Faults) Error() string {
	if len(fs) == 1 {
		return "configuration: " + fs[0]
	}
	return fmt.Sprintf("the configuration has %d faults:\n  - %s", len(fs), strings.Join(fs, "\n  - "))
}

func (fs *Faults) add(format string, args ...any) { *fs = append(*fs, fmt.Sprintf(format, args...)) }

// unless adds the fault when ok is false.
func (fs *Faults) unless(ok bool, format string, args ...any) {
	if !ok {
		fs.add(format, args...)
	}
}
