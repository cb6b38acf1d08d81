package gateway

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/agent/invoke"
	"github.com/picloud/picloud/executor"
)

// router finds which of a function's routes a request fits. It is a tree of
// segments, made once for each deployment. In each segment a literal comes before a
// name, and a name before the rest: since routes that conflict are refused, the first
// one found is the most specific one.
type router struct{ root *node }

// node is a place in the tree, behind a slash.
type node struct {
	literals map[string]*node // by the decoded segment
	param    *node
	rest     []end // routes that take all from here on
	ends     []end // routes that end here
}

// end is a route, where its path ends.
type end struct {
	pattern *picloud.Pattern
	names   []string
}

// fit is the route that a request fits.
type fit struct {
	end    *end
	values [picloud.MaxPatternParams]string // as they were sent
}

// newRouter returns nil when there are no routes.
func newRouter(routes []string) *router {
	if len(routes) == 0 {
		return nil
	}
	root := &node{}
	for _, p := range picloud.ParsePatterns(routes) {
		root.add(&p)
	}
	return &router{root: root}
}

func (n *node) add(p *picloud.Pattern) {
	e := end{pattern: p}
	for _, s := range p.Segments {
		switch {
		case s.Rest != "":
			e.names = append(e.names, s.Rest)
			n.rest = insert(n.rest, e)
			return
		case s.Param != "":
			e.names = append(e.names, s.Param)
			if n.param == nil {
				n.param = &node{}
			}
			n = n.param
		default:
			if n.literals == nil {
				n.literals = map[string]*node{}
			}
			if n.literals[s.Literal] == nil {
				n.literals[s.Literal] = &node{}
			}
			n = n.literals[s.Literal]
		}
	}
	n.ends = insert(n.ends, e)
}

// insert keeps routes of one path in the order to try them in: HEAD before GET, which
// takes it too, and the one for all methods last.
func insert(ends []end, e end) []end {
	rank := func(e end) int {
		switch e.pattern.Method {
		case "":
			return 2
		case http.MethodHead:
			return 0
		}
		return 1
	}
	at := slices.IndexFunc(ends, func(o end) bool { return rank(o) > rank(e) })
	if at < 0 {
		at = len(ends)
	}
	return slices.Insert(ends, at, e)
}

// find looks for the route of a request. The path is as it was sent, from a slash on.
func (t *router) find(method, path string, f *fit) bool {
	return t.root.find(method, path[1:], f, 0)
}

// find visits each node at most once, since a node is reached by one way only.
func (n *node) find(method, path string, f *fit, values int) bool {
	segment, after, more := strings.Cut(path, "/")
	if child := n.literal(segment); child != nil && child.step(method, after, more, f, values) {
		return true
	}
	if n.param != nil && segment != "" {
		f.values[values] = segment
		if n.param.step(method, after, more, f, values+1) {
			return true
		}
	}
	if e := taking(n.rest, method); e != nil {
		f.values[values], f.end = path, e
		return true
	}
	return false
}

func (n *node) step(method, after string, more bool, f *fit, values int) bool {
	if more {
		return n.find(method, after, f, values)
	}
	f.end = taking(n.ends, method)
	return f.end != nil
}

func (n *node) literal(segment string) *node {
	if n.literals == nil {
		return nil
	}
	if strings.IndexByte(segment, '%') >= 0 {
		decoded, err := url.PathUnescape(segment)
		if err != nil {
			return nil
		}
		segment = decoded
	}
	return n.literals[segment]
}

func taking(ends []end, method string) *end {
	for i := range ends {
		if ends[i].pattern.Takes(method) {
			return &ends[i]
		}
	}
	return nil
}

// methods are those that the routes of a path take; all: every one.
func (t *router) methods(path string) (methods []string, all bool) {
	t.root.collect(path[1:], func(p *picloud.Pattern) {
		if all = all || p.Method == ""; p.Method != "" && !slices.Contains(methods, p.Method) {
			methods = append(methods, p.Method)
		}
	})
	return inOrder(methods), all
}

func (n *node) collect(path string, found func(*picloud.Pattern)) {
	segment, after, more := strings.Cut(path, "/")
	step := func(child *node) {
		if child == nil {
			return
		}
		if more {
			child.collect(after, found)
			return
		}
		for _, e := range child.ends {
			found(e.pattern)
		}
	}
	step(n.literal(segment))
	if segment != "" {
		step(n.param)
	}
	for _, e := range n.rest {
		found(e.pattern)
	}
}

// route is what a call gets to know of its route. fits says that there is one.
func (t *router) route(method, path string) (pattern string, params executor.Pairs, fits bool) {
	var f fit
	if !t.find(method, path, &f) {
		return "", nil, false
	}
	return f.end.pattern.Text, f.params(), true
}

// FitOf finds the route of the function that a draft's request fits. The error is that
// of a request that fits none.
func FitOf(f *picloud.Function, req picloud.Request) (invoke.Fit, error) {
	t := newRouter(f.Settings.Routes)
	if t == nil {
		return invoke.Fit{}, nil
	}
	path := req.RawPath
	if path == "" {
		path = req.Path
	}
	route, params, fits := t.route(req.Method, path)
	if !fits {
		return invoke.Fit{}, &picloud.Error{
			Code: picloud.CodeNoRoute, Op: "call function", Resource: f.App + "/" + f.Name,
			Detail: "its routes do not have " + picloud.Shorten(req.Method+" "+path, 200), Hint: "`picloud function show` prints the routes",
		}
	}
	return invoke.Fit{Route: route, Params: params}, nil
}

// params are the named parts of the path, decoded.
func (f *fit) params() executor.Pairs {
	if len(f.end.names) == 0 {
		return nil
	}
	size := 0
	for i, name := range f.end.names {
		size += len(name) + len(f.values[i]) + 10 // and the heads of both
	}
	out := make(executor.Pairs, 0, size)
	for i, name := range f.end.names {
		value := f.values[i]
		if strings.IndexByte(value, '%') >= 0 {
			value, _ = url.PathUnescape(value) // the path was checked
		}
		out = out.AppendPair(name, value)
	}
	return out
}

// inOrder lists methods in the usual order, with HEAD where GET is.
func inOrder(methods []string) (out []string) {
	for _, m := range picloud.Methods() {
		if slices.Contains(methods, m) || m == http.MethodHead && slices.Contains(methods, http.MethodGet) {
			out = append(out, m)
		}
	}
	return out
}
