// Command gen writes configs/laudspeaker.yaml and docs/configuration.md from the struct tags of package config. Run it at
// the top of the repository.
package main

import (
	"fmt"
	"os"

	"github.com/laudspeaker/laudspeaker/config"
)

func main() {
	for path, text := range map[string]string{
		"configs/laudspeaker.yaml": config.Annotated(),
		"docs/configuration.md":    config.Markdown(),
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, "write the generated files:", err)
			os.Exit(1)
		}
	}
}
