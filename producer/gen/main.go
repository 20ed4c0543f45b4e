// Command gen writes docs/openapi.json, the same document that the server serves. Run it at the top of the repository.
package main

import (
	"fmt"
	"os"

	"github.com/laudspeaker/laudspeaker/producer"
)

func main() {
	if err := os.WriteFile("docs/openapi.json", producer.OpenAPI(), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "write the generated file:", err)
		os.Exit(1)
	}
}
