package house_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/laudspeaker/laudspeaker"

// pack is what go list says of a package; its tests' imports are those of both kinds of test package.
type pack struct {
	ImportPath, Doc                    string
	Imports, TestImports, XTestImports []string
}

// name is p's folder, "." for the top.
func (p pack) name() string { return local(p.ImportPath) }

func (p pack) testImports() []string { return slices.Concat(p.TestImports, p.XTestImports) }

// packages asks go list, and is asked anew by every test: it takes a tenth of a second.
func packages(t *testing.T) []pack {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Doc,Imports,TestImports,XTestImports", module+"/...")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var all []pack
	for decoder := json.NewDecoder(out); ; {
		var p pack
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		all = append(all, p)
	}
	require.NoError(t, cmd.Wait())
	require.NotEmpty(t, all)
	return all
}

func local(importPath string) string {
	if importPath == module {
		return "."
	}
	return strings.TrimPrefix(importPath, module+"/")
}

// uses is true for the library itself and for the packages and modules below it.
func uses(imports []string, library string) bool {
	return slices.ContainsFunc(imports, func(i string) bool { return i == library || strings.HasPrefix(i, library+"/") })
}

// lookup prefers a row of the package's own to one with a star.
func lookup(name string) (edges, bool) {
	if row, ok := star[name]; ok {
		return row, true
	}
	for pattern, row := range star {
		if matches(pattern, name) {
			return row, true
		}
	}
	return edges{}, false
}

// strangers are the packages of ours among imports that allowed does not name.
func strangers(imports, allowed []string) []string {
	var found []string
	for _, i := range imports {
		ours := i == module || strings.HasPrefix(i, module+"/")
		if ours && !slices.ContainsFunc(allowed, func(a string) bool { return matches(a, local(i)) }) {
			found = append(found, local(i))
		}
	}
	return found
}

// matches reads "*" as any package and "a/*" as those directly in a.
func matches(pattern, name string) bool {
	if pattern == "*" {
		return true
	}
	ok, _ := path.Match(pattern, name)
	return ok
}
