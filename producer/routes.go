package producer

import (
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"
)

// route is one operation: its description, who may call it, and what it does.
type route struct {
	*huma.Operation
	scope  Scope // none = no key is needed
	handle func(s *Server, x *exchange) error
	signed bool // called under the public name by those who have no key; what they say is signed
}

// routes is every operation of the API. Their descriptions are in openapi.go.
//
// The handlers write their answers themselves: huma's own reading of requests repeats submitted values in its errors, and
// what replaces those errors is a variable of its package.
func routes() []route {
	d := describe()
	return []route{
		{d.accept, ScopeSend, (*Server).accept, false},
		{d.acceptBatch, ScopeSend, (*Server).acceptBatch, false},
		{d.cancel, ScopeSend, (*Server).cancel, false},
		{d.listLives, ScopeRead, (*Server).listLives, false},
		{d.getLife, ScopeRead, (*Server).getLife, false},
		{d.stream, ScopeRead, (*Server).stream, false},
		{d.listLetters, ScopeRead, (*Server).listLetters, false},
		{d.redrive, ScopeAdmin, (*Server).redriveLetters, false},
		{d.expunge, ScopeAdmin, (*Server).expunge, false},
		{d.stats, ScopeRead, (*Server).stats, false},
		{d.listOutbox, ScopeRead, (*Server).listOutbox, false},
		{d.getOutbox, ScopeRead, (*Server).getOutbox, false},
		{d.receipt, "", (*Server).receipt, true},
		{d.openAPI, "", (*Server).openAPI, false},
	}
}

func (s *Server) newRouter() http.Handler {
	router := chi.NewRouter()
	for _, rt := range routes() {
		router.MethodFunc(rt.Method, rt.Path, s.serve(rt))
	}
	for path, page := range map[string]http.Handler{"/livez": s.cfg.Livez, "/readyz": s.cfg.Readyz, "/metrics": s.cfg.MetricsPage} {
		if page != nil {
			router.Method(http.MethodGet, path, page)
			router.Method(http.MethodHead, path, page)
		}
	}
	router.NotFound(s.serve(route{Operation: &huma.Operation{}, handle: notFound}))
	router.MethodNotAllowed(s.serve(route{Operation: &huma.Operation{}, handle: func(_ *Server, x *exchange) error {
		return methodNotAllowed(router, x)
	}}))
	return router
}

func notFound(*Server, *exchange) error {
	return refuse(codeNotFound, "there is nothing at this path: see /openapi.json for what there is")
}

func methodNotAllowed(router chi.Router, x *exchange) error {
	var allowed []string
	for _, m := range []string{"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"} {
		if router.Match(chi.NewRouteContext(), m, x.r.URL.Path) {
			allowed = append(allowed, m)
		}
	}
	allow := strings.Join(allowed, ", ")
	x.w.Header().Set("Allow", allow)
	return refuse(codeMethodNotAllowed, "use "+allow+" here")
}
