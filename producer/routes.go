package producer

import (
	"net/http"
	"slices"
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
		{d.inbound, "", (*Server).inbound, true},
		{d.openAPI, "", (*Server).openAPI, false},
	}
}

func (s *Server) newRouter() http.Handler {
	router, own := chi.NewRouter(), map[string][]string{}
	for _, rt := range routes() {
		router.MethodFunc(rt.Method, rt.Path, s.serve(rt))
		own[rt.Path] = append(own[rt.Path], rt.Method)
	}
	for path, page := range map[string]http.Handler{"/livez": s.cfg.Livez, "/readyz": s.cfg.Readyz, "/metrics": s.cfg.MetricsPage} {
		if page != nil {
			router.Method(http.MethodGet, path, page)
			router.Method(http.MethodHead, path, page)
			own[path] = []string{http.MethodGet, http.MethodHead}
		}
	}
	router.NotFound(s.serve(route{Operation: &huma.Operation{}, handle: notFound}))
	otherMethod := s.serve(route{Operation: &huma.Operation{}, handle: func(_ *Server, x *exchange) error {
		return methodNotAllowed(router, own, x)
	}})
	router.MethodNotAllowed(otherMethod)
	for path := range own {
		for _, m := range methods {
			if !slices.Contains(own[path], m) && find(router, m, path) != "" { // it would be taken for an id of another path
				router.MethodFunc(m, path, otherMethod)
			}
		}
	}
	return router
}

func notFound(*Server, *exchange) error {
	return refuse(codeNotFound, "there is nothing at this path: see /openapi.json for what there is")
}

var methods = [...]string{"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}

// find gives the path with its parameters' names that a request goes to; empty for none.
func find(router chi.Router, method, path string) string {
	return router.Find(chi.NewRouteContext(), method, path)
}

// methodNotAllowed names the methods that the path has of its own.
func methodNotAllowed(router chi.Router, own map[string][]string, x *exchange) error {
	var allowed []string
	for _, m := range methods {
		if slices.Contains(own[find(router, m, x.r.URL.Path)], m) {
			allowed = append(allowed, m)
		}
	}
	allow := strings.Join(allowed, ", ")
	x.w.Header().Set("Allow", allow)
	return refuse(codeMethodNotAllowed, "use "+allow+" here")
}
