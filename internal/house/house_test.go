// Package house_test holds the shape of the tree: who may import whom, and that every package says what it is for.
// It asks go list and imports nothing of ours, so that it speaks up even while something does not compile.
package house_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// edges are the packages of ours that a package may import. Its tests may import those of the second list as well.
type edges struct{ code, tests []string }

// star is the whole picture: words at the bottom, technology around them, cmd in the middle as the only one that joins.
// A package that is missing here fails the test; before adding an edge, look for an interface beside the caller.
var star = map[string]edges{
	".":   {code: []string{"cmd"}},
	"cmd": {code: []string{"*"}},

	"producer": {
		code:  []string{"internal/notify", "internal/validate"},
		tests: []string{"internal/dispatcher", "internal/kafka"},
	},
	"worker": {
		code:  []string{"internal/notify", "internal/validate", "internal/kafka", "internal/limiter", "gateway"},
		tests: []string{"internal/dispatcher"},
	},
	"internal/deadletters": {
		code:  []string{"internal/notify", "internal/validate", "internal/kafka", "internal/dispatcher"},
		tests: []string{"internal/kafka/kafkatest"},
	},
	"internal/backlog": {code: []string{"internal/notify", "internal/kafka"}},
	"internal/dispatcher": {
		code: []string{"internal/notify", "internal/validate", "internal/kafka"},
	},

	"gateway":             {code: []string{"internal/notify"}},
	"gateway/gatewaytest": {code: []string{"internal/notify", "gateway"}},
	"gateway/*": {
		code:  []string{"internal/notify", "gateway", "config", "internal/email"},
		tests: []string{"gateway/gatewaytest", "gateway/*/*test"},
	},
	"gateway/*/*test": {code: []string{"gateway/gatewaytest"}},

	"internal/validate":        {code: []string{"internal/notify"}},
	"internal/audit":           {code: []string{"internal/notify", "internal/validate", "internal/kafka", "internal/status"}},
	"internal/bench":           {code: []string{"internal/notify", "internal/kafka", "internal/kafka/embedded", "internal/status", "internal/status/store"}},
	"internal/email":           {code: []string{"internal/notify"}},
	"internal/limiter":         {code: []string{"internal/notify"}},
	"internal/receipts":        {code: []string{"internal/notify"}},
	"internal/inbound":         {code: []string{"internal/notify"}},
	"internal/control":         {code: []string{"internal/notify"}},
	"internal/status":          {code: []string{"internal/notify", "internal/validate", "internal/kafka"}, tests: []string{"internal/status/store", "internal/kafka/kafkatest"}},
	"internal/status/store":    {code: []string{"internal/notify", "internal/status", "internal/kafka"}},
	"internal/kafka/embedded":  {code: []string{"internal/kafka", "internal/kafka/recordbatch"}, tests: []string{"internal/kafka/recordbatch/batchtest", "internal/kafka/kafkatest"}},
	"internal/kafka/kafkatest": {code: []string{"internal/kafka", "internal/kafka/embedded", "internal/kafka/recordbatch"}},

	"internal/notify": {},
	"config":          {},
	"config/gen":      {code: []string{"config"}},
	"producer/gen":    {code: []string{"producer"}},
	"internal/kafka":  {code: []string{"internal/kafka/recordbatch"}, tests: []string{"internal/kafka/recordbatch/batchtest", "internal/kafka/embedded", "internal/kafka/kafkatest"}},

	"internal/kafka/recordbatch":           {tests: []string{"internal/kafka/recordbatch/batchtest"}},
	"internal/kafka/recordbatch/batchtest": {code: []string{"internal/kafka/recordbatch"}},

	"internal/house": {},
}

// fences keep a library behind one package, so that a change of it is a change there. Tests of the packages in the second
// list may use it too. internal/bench uses the bare libraries as what Laudspeaker is compared with.
var fences = map[string]edges{
	"github.com/IBM/sarama":              {code: []string{"internal/kafka", "internal/kafka/kafkatest", "internal/bench"}, tests: []string{"internal/kafka/embedded", "internal/kafka/recordbatch", "cmd"}},
	"github.com/twmb/franz-go":           {code: []string{"internal/kafka", "internal/kafka/embedded", "internal/kafka/kafkatest", "internal/kafka/recordbatch/batchtest"}, tests: []string{"internal/kafka/recordbatch", "cmd"}},
	"github.com/wneessen/go-mail":        {code: []string{"gateway/smtp", "internal/bench"}},
	"github.com/failsafe-go/failsafe-go": {code: []string{"gateway"}},
	"github.com/golang-jwt/jwt":          {code: []string{"gateway/apns", "gateway/apns/apnstest"}},
	"github.com/standard-webhooks":       {code: []string{"gateway/http"}},
	"github.com/santhosh-tekuri":         {tests: []string{"cmd", "worker", "internal/validate"}},
	"github.com/spf13/cobra":             {code: []string{"cmd"}},
	"github.com/spf13/viper":             {code: []string{"config"}},
	"modernc.org/sqlite":                 {code: []string{"internal/status/store"}},
	"github.com/jackc/pgx/v5":            {code: []string{"internal/status/store"}},
	"github.com/pressly/goose/v3":        {code: []string{"internal/status/store"}},
}

func TestImportsFormAStar(t *testing.T) {
	for _, p := range packages(t) {
		allowed, ok := lookup(p.name())
		if !ok {
			t.Errorf("%s is not in the table star of internal/house: say there what it may import", p.name())
			continue
		}
		for _, i := range strangers(p.Imports, allowed.code) {
			t.Errorf("%s imports %s: the star has no such edge", p.name(), i)
		}
		for _, i := range strangers(p.testImports(), slices.Concat(allowed.code, allowed.tests, []string{p.name()})) {
			t.Errorf("the tests of %s import %s: the star has no such edge", p.name(), i)
		}
	}
}

func TestNoCodeNeedsWhatIsForTests(t *testing.T) {
	forTests := func(name string) bool { return strings.HasSuffix(name, "test") }
	for _, p := range packages(t) {
		for _, i := range p.Imports {
			if strings.HasPrefix(i, module) && forTests(i) && !forTests(p.name()) {
				t.Errorf("%s imports %s, which is for tests", p.name(), local(i))
			}
		}
	}
}

func TestLibrariesStayBehindTheirPackage(t *testing.T) {
	for library, allowed := range fences {
		for _, p := range packages(t) {
			if uses(p.Imports, library) && !slices.Contains(allowed.code, p.name()) {
				t.Errorf("%s imports %s: only %v may", p.name(), library, allowed.code)
			}
			if uses(p.testImports(), library) && !slices.Contains(slices.Concat(allowed.code, allowed.tests), p.name()) {
				t.Errorf("the tests of %s import %s: only those of %v may", p.name(), library, slices.Concat(allowed.code, allowed.tests))
			}
		}
	}
}

func TestWordsNeedOnlyTheStandardLibrary(t *testing.T) {
	for _, p := range packages(t) {
		if p.name() != "internal/notify" {
			continue
		}
		for _, i := range p.Imports {
			first, _, _ := strings.Cut(i, "/")
			require.NotContains(t, first, ".", "internal/notify imports %s", i)
		}
		return
	}
	t.Fatal("internal/notify is gone")
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for _, p := range packages(t) {
		// A package of tests alone has no doc to show.
		if p.Doc == "" && len(p.Imports) > 0 {
			t.Errorf("%s has no package comment: what is it for, what does it alone know, what does it do about failures?", p.name())
		}
	}
}

func TestTableNamesOnlyWhatExists(t *testing.T) {
	var names []string
	for _, p := range packages(t) {
		names = append(names, p.name())
	}
	for row := range star {
		found := slices.ContainsFunc(names, func(name string) bool { return matches(row, name) })
		require.True(t, found, "the table star has a row %q without a package", row)
	}
}
