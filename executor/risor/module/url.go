package module

import (
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"

	"github.com/picloud/picloud/executor/hostcall"
	"github.com/picloud/picloud/executor/risor/data"
)

// maxURL bounds what is taken apart as a URL, in bytes.
const maxURL = 64 << 10

var (
	urlInvalid  = Fault{"url_invalid", "the text is not a valid URL, or has more than 64 KiB"}
	urlTooLarge = Fault{"too_large", "the text would have more than 64 MiB"}
)

func urlModule() Module {
	text := []Arg{{Name: "text", Type: "string"}}
	return Module{
		Name: "url",
		Doc:  "URLs and what they are made of.",
		Functions: []Function{
			{
				Name: "parse", Args: text, Returns: "map",
				Doc: "The parts of a URL: `scheme`, `user`, `host` (with the port), `hostname`, `port` (an int, or null), `path` (decoded), `raw_query`, `query` (as `req.query`), `fragment`. " +
					"Absent ones are empty. The password is left out.",
				Errors: []Fault{urlInvalid},
				Example: example(`let u = url.parse("https://shop.example:8443/a%20b?tag=x&tag=y#top")`, `[u.scheme, u.hostname, u.port, u.path, u.fragment]   // → ["https","shop.example",8443,"/a b","top"]`,
					`[u.query.tag, u.query.all("tag")]                    // → ["x",["x","y"]]`, `url.parse("http://[::1")                             // → error url_invalid`),
				call: parseURL,
			},
			{
				Name: "join", Args: []Arg{{Name: "base", Type: "string"}, {Name: "reference", Type: "string"}}, Returns: "string",
				Doc:     "The URL that a link on a page leads to: the reference, resolved against the page's URL.",
				Errors:  []Fault{urlInvalid},
				Example: example(`url.join("https://example.org/docs/a.html", "../img/b.png?v=2")   // → "https://example.org/img/b.png?v=2"`, `url.join("https://example.org/docs/", "//cdn.example/x")          // → "https://cdn.example/x"`),
				call: func(a *arguments) (object.Object, error) {
					base, err := a.url(0)
					if err != nil {
						return nil, err
					}
					reference, err := a.url(1)
					if err != nil {
						return nil, err
					}
					return object.NewString(base.ResolveReference(reference).String()), nil
				},
			},
			{
				Name: "escape", Args: text, Returns: "string",
				Doc:     "Make text safe as one part of a path, or as a name or value of a query.",
				Errors:  []Fault{urlTooLarge},
				Example: `url.escape("a/b c&d+é")   // → "a%2Fb%20c%26d%2B%C3%A9"`,
				call: func(a *arguments) (object.Object, error) {
					s := a.text(0)
					if len(s) > maxText/3 {
						return nil, textTooLarge("the text")
					}
					return object.NewString(escapeURL(s)), nil
				},
			},
			{
				Name: "unescape", Args: text, Returns: "string",
				Doc:     "The opposite of `url.escape`. A plus sign stays one; `url.parse_query` reads it as a blank.",
				Errors:  []Fault{{"url_invalid", "a percent sign has no two hexadecimal digits behind it, or the bytes are not UTF-8"}},
				Example: example(`url.unescape("a%2Fb%20c")   // → "a/b c"`, `url.unescape("100%")        // → error url_invalid`),
				call: func(a *arguments) (object.Object, error) {
					s, err := url.PathUnescape(a.text(0))
					if err != nil || !utf8.ValidString(s) {
						return nil, hostcall.Errorf("url_invalid", "the text is not escaped: a percent sign has no two hexadecimal digits behind it, or the bytes are not UTF-8")
					}
					return object.NewString(s), nil
				},
			},
			{
				Name: "query", Args: []Arg{{Name: "values", Type: "map"}}, Returns: "string",
				Doc:     "A query, or the body of a form, from a map of strings, numbers and bools, sorted by name. A list repeats its name, null leaves it out.",
				Errors:  []Fault{urlTooLarge},
				Example: example(`url.query({q: "tea & milk", page: 2, tag: ["x", "y"], no: null})   // → "page=2&q=tea%20%26%20milk&tag=x&tag=y"`, `url.query({q: {}})                                                 // → error invalid_arguments`),
				call:    makeQuery,
			},
			{
				Name: "parse_query", Args: text, Returns: "map",
				Doc:     "A query, or the body of a form, as a map like `req.query`: the first value of each name; `all(name)` lists every value.",
				Example: example(`let form = url.parse_query("name=Ada+L&tag=x&tag=y")`, `[form.name, form.all("tag"), form.nope]   // → ["Ada L",["x","y"],null]`),
				call: func(a *arguments) (object.Object, error) {
					return data.NewQuery(a.data(0)), nil
				},
			},
		},
	}
}

// url reads a URL of bounded size.
func (a *arguments) url(i int) (*url.URL, error) {
	s := a.text(i)
	if len(s) > maxURL {
		return nil, hostcall.Errorf("url_invalid", "a URL has at most %d bytes", maxURL)
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil, hostcall.Errorf("url_invalid", "%s", data.Shorten(strings.ToValidUTF8(err.Error(), "�"), 300))
	}
	return u, nil
}

func parseURL(a *arguments) (object.Object, error) {
	u, err := a.url(0)
	if err != nil {
		return nil, err
	}
	var port object.Object = object.Nil
	if p := u.Port(); p != "" {
		n := int64(0)
		for _, c := range p {
			n = min(n*10+int64(c-'0'), 1<<20)
		}
		port = object.NewInt(n)
	}
	text := func(s string) object.Object { return object.NewString(strings.ToValidUTF8(s, "�")) }
	return object.NewMap(map[string]object.Object{
		"scheme": text(u.Scheme), "user": text(u.User.Username()), "host": text(u.Host), "hostname": text(u.Hostname()), "port": port,
		"path": text(u.Path), "raw_query": text(u.RawQuery), "query": data.NewQuery([]byte(u.RawQuery)), "fragment": text(u.Fragment),
	}), nil
}

func escapeURL(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

func makeQuery(a *arguments) (object.Object, error) {
	m, ok := asMap(a.values[0])
	if !ok {
		return nil, a.wrong(0, "a map")
	}
	var b strings.Builder
	for _, name := range m.SortedKeys() {
		values := []object.Object{m.Get(name)}
		if list, ok := values[0].(*object.List); ok {
			values = list.Value()
		}
		for _, v := range values {
			var value string
			switch v := v.(type) {
			case *object.NilType:
				continue
			case *object.String:
				value = v.Value()
			case *object.Int, *object.Float, *object.Bool, *object.Byte:
				value = v.Inspect()
			case data.Texted:
				value = v.AsText()
			default:
				return nil, a.invalid(fmt.Sprintf("values.%s must be a string, a number, a bool or a list of them, not %s", data.Shorten(name, 80), data.Show(v)))
			}
			if b.Len()+3*(len(name)+len(value)) > maxText {
				return nil, textTooLarge("the query")
			}
			if b.Len() > 0 {
				b.WriteByte('&')
			}
			b.WriteString(escapeURL(name) + "=" + escapeURL(value))
		}
		if err := a.ctx.Err(); err != nil {
			return nil, err
		}
	}
	return object.NewString(b.String()), nil
}
