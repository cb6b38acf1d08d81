package risor

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/executor/wire"
)

func BenchmarkInvoke(b *testing.B) {
	body := []byte(`{"id":17,"name":"Ada Lovelace","tags":["a","b","c"],"nested":{"x":1.5,"y":[1,2,3,4,5,6,7,8]},"text":"` + strings.Repeat("x", 860) + `"}`)
	var header wire.Pairs
	for _, h := range []string{"Host", "User-Agent", "Accept", "Accept-Encoding", "X-Forwarded-For"} {
		header = header.AppendPair(h, "some value")
	}
	for _, c := range []struct{ name, source string }{
		{"hello", `function handle(req) { return {hello: req.query.name ?? "world"} }`},
		{"text", `function handle(req) { return "hello" }`},
		{"echo1k", `function handle(req) { return req.json() }`},
		{"headers", `function handle(req) { return {status: 200, headers: {"x-ua": req.headers["user-agent"]}, body: req.path} }`},
		{"loop", `function handle(req) { return range(100).map(i => i * 2).filter(i => i % 3 == 0) }`},
	} {
		b.Run(c.name, func(b *testing.B) {
			p := mustCompile(b, c.source)
			host := &recorder{}
			in := &wire.Invocation{Method: []byte("GET"), Path: []byte("/x"), Query: []byte("name=Ada"), Header: header, Body: body}
			call := &Call{}
			b.ReportAllocs()
			for b.Loop() {
				call.Reset()
				call.Handler, call.Request, call.App, call.Function = "handle", in, "default", "hello"
				call.Deadline, call.Host, call.MaxResponse = time.Now().Add(time.Second), host, 8<<20
				if err := p.Invoke(call); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	for name, source := range map[string]string{
		"hello": `function handle(req) { return {hello: req.query.name ?? "world"} }`,
		"8k":    strings.Repeat("function fN(a) {\n  let x = a.map(y => y + 1)\n  return {x, n: len(x)}\n}\n", 100) + "function handle(req) {}",
		"64k":   "function handle(req) {}\n" + strings.Repeat("function fN(a) { let x = a.map(y => y + 1); return {x, n: len(x), aaa: [1, 2, 3, 4], bbb: a.filter(q => q > 1), ccc: 17} }\n", 490),
	} {
		for strings.Contains(source, "fN") {
			source = strings.Replace(source, "fN", fmt.Sprintf("f%d", strings.Count(source, "fN")), 1)
		}
		require.LessOrEqual(b, len(source), MaxSource+1)
		source = source[:min(len(source), MaxSource)]
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(source)))
			for b.Loop() {
				if _, err := Compile([]byte(source)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
