package cmd

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/laudspeaker/laudspeaker/producer"
)

func newKeys() *cobra.Command {
	c := &cobra.Command{Use: "keys", Short: "Make API keys"}
	c.AddCommand(newKeysGenerate())
	return c
}

var keyName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$`)

func newKeysGenerate() *cobra.Command {
	c := &cobra.Command{
		Use:   "generate NAME",
		Short: "Make an API key: prints it once, with the line for the configuration",
		Long: `Makes an API key for the caller NAME. The key is printed once and kept nowhere; the configuration gets its SHA-256, in the
line that is printed too. Scopes: send (submit notifications), read (see them), admin (everything else).`,
		Example: `  laudspeaker keys generate shop
  laudspeaker keys generate dashboard --scopes read`,
		Args: cobra.ExactArgs(1),
	}
	scopes := c.Flags().StringSlice("scopes", []string{"send", "read"}, "what the key may do: send, read, admin")
	c.RunE = func(c *cobra.Command, args []string) error {
		if !keyName.MatchString(args[0]) {
			return fmt.Errorf("NAME must be 1 to 64 letters, digits, blanks, dots, - and _")
		}
		for _, s := range *scopes {
			if !slices.Contains([]string{"send", "read", "admin"}, s) {
				return fmt.Errorf("--scopes knows send, read and admin")
			}
		}
		printKey(c.OutOrStdout(), args[0], *scopes)
		return nil
	}
	return c
}

func printKey(w io.Writer, name string, scopes []string) {
	granted := make([]producer.Scope, len(scopes))
	for i, s := range scopes {
		granted[i] = producer.Scope(s)
	}
	key, kept := producer.GenerateKey(name, granted...)
	fmt.Fprintf(w, `The key, shown only now. Callers send it as "Authorization: Bearer …":

  %s

Under api.keys in the configuration:

  - {id: "%s", name: "%s", sha256: "%s", scopes: [%s]}
`, key, kept.ID, kept.Name, kept.SHA256, strings.Join(scopes, ", "))
}
