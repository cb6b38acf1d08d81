package picloud

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds of a function's routes.
const (
	MaxPatterns      = 100
	MaxPatternLength = 256 // bytes
	MaxPatternParams = 16
)

// Pattern is one of a function's routes, such as "GET /items/{id}": a method, or
// none for all of them, and a path below the function.
//
// A path is matched as a whole, segment by segment. {name} stands for one segment
// that is not empty, {name...} at the end for all that is left, which may be empty.
// GET takes HEAD too.
type Pattern struct {
	Text     string // as in the settings
	Method   string // empty: every method
	Segments []Segment
}

// Segment is a part of a pattern between slashes. Exactly one of its fields is set,
// or none for the empty segment that a slash at the end leaves.
type Segment struct {
	Literal string // decoded
	Param   string // the name of one segment
	Rest    string // the name of all that is left
}

// ParsePattern reads a pattern.
func ParsePattern(text string) (Pattern, error) {
	p := Pattern{Text: text}
	if len(text) > MaxPatternLength {
		return p, fmt.Errorf("has more than %d bytes", MaxPatternLength)
	}
	path := text
	if method, after, ok := strings.Cut(text, " "); ok {
		if !slices.Contains(httpMethods, method) {
			return p, fmt.Errorf("begins with the method %q; it is one of %s, or left out for all", Shorten(method, 20), strings.Join(httpMethods, ", "))
		}
		p.Method, path = method, strings.TrimLeft(after, " ")
	}
	path, ok := strings.CutPrefix(path, "/")
	if !ok {
		return p, fmt.Errorf("has no path; it looks like %q or %q", "GET /items/{id}", "/files/{path...}")
	}
	parts := strings.Split(path, "/")
	params := map[string]bool{}
	for i, part := range parts {
		last := i == len(parts)-1
		s, err := parseSegment(part, last)
		if err != nil {
			return p, err
		}
		if name := s.Param + s.Rest; name != "" {
			if params[name] {
				return p, fmt.Errorf("has two parts with the name %q", name)
			}
			params[name] = true
		}
		p.Segments = append(p.Segments, s)
	}
	if len(params) > MaxPatternParams {
		return p, fmt.Errorf("has more than %d names", MaxPatternParams)
	}
	return p, nil
}

func parseSegment(part string, last bool) (Segment, error) {
	switch {
	case part == "" && !last:
		return Segment{}, fmt.Errorf("has an empty segment, %q", "//")
	case part == "{$}":
		return Segment{}, errors.New("ends with {$}, which is not needed: a path is matched as a whole, so leave it out")
	case strings.HasPrefix(part, "{") && strings.HasSuffix(part, "}"):
		name := part[1 : len(part)-1]
		name, rest := strings.CutSuffix(name, "...")
		if !validParam(name) {
			return Segment{}, fmt.Errorf("has the name %q; names are letters, digits and underscores, such as {id} or {path...}", name)
		}
		if rest && !last {
			return Segment{}, fmt.Errorf("goes on behind %s, which takes all that is left", part)
		}
		if rest {
			return Segment{Rest: name}, nil
		}
		return Segment{Param: name}, nil
	case strings.ContainsAny(part, "{}"):
		return Segment{}, fmt.Errorf("has braces inside of the segment %q; a name stands for a whole segment, such as /{id}/", part)
	case strings.HasPrefix(part, ":"):
		return Segment{}, fmt.Errorf("has the segment %q; write {%s}", part, part[1:])
	case strings.Contains(part, "*"):
		return Segment{}, fmt.Errorf("has the segment %q; write {name} for one segment, {name...} for all that is left", part)
	case strings.ContainsAny(part, " ?#\\"):
		return Segment{}, fmt.Errorf("has %q in its path; a path has no blank, backslash, query and fragment (%%20 and the like are fine)", part)
	}
	literal, err := url.PathUnescape(part)
	switch {
	case err != nil:
		return Segment{}, fmt.Errorf("has the segment %q with a percent sign that no two hexadecimal digits follow", part)
	case literal == "." || literal == "..":
		return Segment{}, fmt.Errorf("has the segment %q, which no request can have", part)
	case !utf8.ValidString(literal) || strings.ContainsFunc(literal, func(c rune) bool { return c < ' ' || c == 0x7f }):
		return Segment{}, fmt.Errorf("has the segment %q, which no request can have: it is not text", part)
	}
	return Segment{Literal: literal}, nil
}

func validParam(name string) bool {
	for i := range len(name) {
		c := name[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

// Takes reports whether the pattern is for requests with a method.
func (p Pattern) Takes(method string) bool {
	return p.Method == "" || p.Method == method || p.Method == http.MethodGet && method == http.MethodHead
}

// relation says what requests two patterns have in common. Each field says that the
// pattern takes requests, in that respect, that the other does not.
type relation struct {
	disjoint     bool
	aMore, bMore bool
}

// Conflict reports whether a request exists that both patterns match, with neither
// of them the more specific one. A pattern is more specific when it matches a part
// of what the other matches. The example is such a request.
func (p Pattern) Conflict(q Pattern) (example string, conflict bool) {
	m, s := p.relateMethod(q), p.relatePath(q)
	if m.disjoint || s.disjoint {
		return "", false
	}
	aMore, bMore := m.aMore || s.aMore, m.bMore || s.bMore
	if aMore != bMore {
		return "", false
	}
	method := p.Method
	if method == "" || method == http.MethodGet && q.Method == http.MethodHead {
		method = q.Method
	}
	if method == "" {
		method = http.MethodGet
	}
	return method + " " + p.common(q), true
}

func (p Pattern) relateMethod(q Pattern) relation {
	switch {
	case p.Method == q.Method:
		return relation{}
	case p.Method == "" || p.Method == http.MethodGet && q.Method == http.MethodHead:
		return relation{aMore: true}
	case q.Method == "" || q.Method == http.MethodGet && p.Method == http.MethodHead:
		return relation{bMore: true}
	}
	return relation{disjoint: true}
}

func (p Pattern) relatePath(q Pattern) (r relation) {
	for i := 0; ; i++ {
		switch {
		case i == len(p.Segments) && i == len(q.Segments):
			return r
		case i == len(p.Segments) || i == len(q.Segments):
			return relation{disjoint: true}
		}
		a, b := p.Segments[i], q.Segments[i]
		switch {
		case a.Rest != "" || b.Rest != "":
			r.aMore = r.aMore || b.Rest == ""
			r.bMore = r.bMore || a.Rest == ""
			return r
		case a.Param != "" && b.Param != "":
		case a.Param != "" && b.Literal != "":
			r.aMore = true
		case b.Param != "" && a.Literal != "":
			r.bMore = true
		case a != b:
			return relation{disjoint: true}
		}
	}
}

// common is a path that two patterns match, which are not disjoint.
func (p Pattern) common(q Pattern) string {
	var out strings.Builder
	longer, other := p.Segments, q.Segments
	if len(other) > len(longer) {
		longer, other = other, longer
	}
	for i, s := range longer {
		if i < len(other) && (s.Rest != "" || s.Param != "" && other[i].Rest == "") {
			s = other[i]
		}
		out.WriteByte('/')
		out.WriteString(url.PathEscape(s.Literal) + s.Param + s.Rest)
	}
	return out.String()
}

// ParsePatterns reads the routes of a function's settings, and skips what is none:
// Settings.Check has refused that.
func ParsePatterns(routes []string) []Pattern {
	out := make([]Pattern, 0, len(routes))
	for _, text := range routes {
		if p, err := ParsePattern(text); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// checkRoutes says what is wrong with a function's routes. A route of a method that
// the function does not take could never be called.
func checkRoutes(routes, methods []string) []FieldError {
	var out []FieldError
	bad := func(format string, args ...any) {
		out = append(out, FieldError{"routes", fmt.Sprintf(format, args...)})
	}
	if len(routes) > MaxPatterns {
		bad("must have at most %d entries", MaxPatterns)
		return out
	}
	var valid []Pattern
	for _, text := range routes {
		p, err := ParsePattern(text)
		if err != nil {
			bad("cannot have %q: it %v", Shorten(text, 80), err)
			continue
		}
		if p.Method != "" && len(methods) > 0 && !slices.ContainsFunc(methods, p.Takes) {
			bad("cannot have %q: the function's methods are %s", text, strings.Join(methods, ", "))
		}
		for _, q := range valid {
			example, conflict := q.Conflict(p)
			switch {
			case !conflict:
			case q.Method == p.Method && q.relatePath(p) == relation{}:
				bad("cannot have both %q and %q: they match the same requests", q.Text, p.Text)
			default:
				bad("cannot have both %q and %q: both match %s, and neither is the more specific one", q.Text, p.Text, example)
			}
		}
		valid = append(valid, p)
	}
	return out
}
