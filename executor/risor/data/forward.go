package data

import (
	"iter"
	"slices"
	"strings"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"

	"github.com/picloud/picloud/executor/wire"
)

// perConnection are the headers that say how one message is sent over one connection
// (RFC 9110, 7.6.1), in lower case. Whoever passes a message on frames it anew.
var perConnection = []string{
	"connection", "content-length", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
	"transfer-encoding", "upgrade",
}

// hops are the headers of one message that belong to its connection: those that
// always do, and those that its Connection lines name.
type hops struct{ named map[string]bool }

func hopsOf(block wire.Pairs) (h hops) {
	for name, value := range block.All() {
		if !strings.EqualFold(string(name), "connection") {
			continue
		}
		if h.named == nil {
			h.named = map[string]bool{}
		}
		for token := range strings.SplitSeq(string(value), ",") {
			h.named[strings.ToLower(strings.TrimSpace(token))] = true
		}
	}
	return h
}

func (h hops) have(name string) bool {
	return slices.Contains(perConnection, name) || h.named[name]
}

// notForwarded are the headers of a request, besides those of its connection, that
// its receiver does not pass on, in lower case: they speak to this server. The node
// asks the next one for an encoding that it decodes itself.
var notForwarded = []string{"host", "accept-encoding", "expect", "http2-settings"}

// stays returns what tells whether a header, in lower case, is not passed on.
func (f *Fields) stays() func(name string) bool {
	if !f.header() {
		return func(string) bool { return false }
	}
	hops := hopsOf(f.block)
	return func(name string) bool {
		return hops.have(name) || f.kind == kindHeaders && (slices.Contains(notForwarded, name) || strings.HasPrefix(name, "proxy-"))
	}
}

// Spread implements vm.Spreader: a copy that may be changed and passed on.
func (f *Fields) Spread() *object.Map {
	m, stays := f.AsMap(), f.stays()
	for name := range m.Value() {
		if stays(name) {
			delete(m.Value(), name)
		}
	}
	return m
}

// Forward ranges over the header lines that may be passed on to another connection:
// each line apart and in order, the names in lower case, the values byte by byte as
// they came.
func (f *Fields) Forward() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		stays := f.stays()
		f.scan(func(n, v part) bool {
			name := strings.ToLower(n.decode())
			return stays(name) || yield(name, v.line())
		})
	}
}

// ContentLength is the length that the headers state; empty: they state none.
func (f *Fields) ContentLength() string {
	value, _ := f.block.Get("content-length")
	return string(value)
}

// line is a value as it came.
func (p part) line() string {
	if p.escaped || p.file != nil {
		return p.decode()
	}
	return string(p.raw)
}
