package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"go.uber.org/zap"
)

// Repair copies the log in dir to into, which must not exist, and repairs the copy: where bytes cannot be read it goes on at the
// next good batch. It returns what was set aside; dir stays as it is. It fails with a [*LockedError] while a broker uses dir.
func Repair(dir, into string, identify func(value []byte, header func(key string) string) string, log *zap.Logger) ([]SetAside, error) {
	if !Exists(dir) {
		return nil, fmt.Errorf("embedded broker: %s holds no log", dir)
	}
	if _, err := os.Lstat(into); !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("embedded broker: %s exists already: remove it, or name another folder for the copy", into)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := os.CopyFS(into, os.DirFS(dir)); err != nil {
		return nil, fmt.Errorf("embedded broker: copy the log: %w", err)
	}
	if err := os.Chmod(into, 0o700); err != nil {
		return nil, fmt.Errorf("embedded broker: %w", err)
	}
	if err := os.Remove(filepath.Join(into, "lock")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("embedded broker: %w", err)
	}
	s := &salvager{dir: into, identify: identify, resync: true, log: log}
	err = s.salvage()
	return s.found, err
}
