package cmd

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/kafka/embedded"
)

func newTopicsRepair() *cobra.Command {
	c := &cobra.Command{
		Use:   "repair --from DIR",
		Short: "Repair a copy of the log of an embedded broker",
		Long: `Copies the log of an embedded broker and repairs the copy: for a log that is so damaged that "laudspeaker all" refuses to
start with it. DIR is a data_dir, or its folder kafka; no process may be using it, and it is not changed. Where bytes cannot
be read, the copy goes on at the next readable record batch. The command lists which offsets are lost, with the ids of their
notifications where they can be read; the bytes are in the folder quarantine of the copy.`,
		Example: `  laudspeaker topics repair --from ./data
  laudspeaker topics repair --from ./data --into /mnt/spare/kafka`,
		Args: cobra.NoArgs,
	}
	from := c.Flags().String("from", "", "data_dir of the embedded broker, or its folder kafka (required)")
	into := c.Flags().String("into", "", "folder for the repaired copy, which must not exist (default: the log's folder with .repaired at its end)")
	c.RunE = func(c *cobra.Command, _ []string) error { return runRepair(*from, *into, c.OutOrStdout()) }
	return c
}

func runRepair(from, into string, out io.Writer) error {
	dir, err := logDir(from)
	if err != nil {
		return err
	}
	if into == "" {
		into = filepath.Clean(dir) + ".repaired"
	}
	fmt.Fprintf(out, "copying %s to %s\n", dir, into)
	aside, err := embedded.Repair(dir, into, recordID, zap.NewNop())
	for _, a := range aside {
		named := "no id can be read"
		if len(a.IDs) > 0 {
			named = strings.Join(a.IDs, " ")
		}
		fmt.Fprintf(out, "lost: %s/%d, offsets %d to %d: %s (%s)\n", a.Topic, a.Partition, a.First, a.Last, named, a.File)
	}
	var locked *embedded.LockedError
	if errors.As(err, &locked) {
		return fmt.Errorf("--from: %w", err)
	}
	if err != nil {
		return err
	}
	if len(aside) == 0 {
		fmt.Fprintln(out, "no record is lost")
	}
	fmt.Fprintf(out, "To use the copy: mv %s %s.damaged && mv %s %s\n", dir, filepath.Clean(dir), into, dir)
	return nil
}
