package cmd

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newConfig() *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "Check and show the settings in force",
	}
	c.AddCommand(newConfigValidate(), newConfigPrint())
	return c
}

func newConfigValidate() *cobra.Command {
	c := &cobra.Command{
		Use:   "validate",
		Short: "Say ok, or everything that is wrong",
		Long:  "Reads the settings as a role would, from the file, the environment and flags, and says everything that is wrong at once.\nNothing is connected to; see also: laudspeaker gateways check",
		Example: `  laudspeaker config validate --config configs/production.yaml
  LAUDSPEAKER_EMAIL=smtp://user:pass@smtp.example.com laudspeaker config validate`,
		Args: cobra.NoArgs,
	}
	s := addSettings(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := s.load()
		if err != nil {
			return err
		}
		for _, name := range cfg.Unused() {
			fmt.Fprintf(c.OutOrStdout(), "note: gateways.%s is used by no channel\n", name)
		}
		fmt.Fprintln(c.OutOrStdout(), "ok")
		return nil
	}
	return c
}

func newConfigPrint() *cobra.Command {
	c := &cobra.Command{
		Use:     "print",
		Short:   "Show every setting in force as YAML, secrets as ***",
		Example: `  laudspeaker config print --config configs/development.yaml`,
		Args:    cobra.NoArgs,
	}
	s := addSettings(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := s.load()
		if err != nil {
			return err
		}
		fmt.Fprint(c.OutOrStdout(), cfg.Print())
		return nil
	}
	return c
}
