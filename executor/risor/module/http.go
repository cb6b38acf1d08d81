package module

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"

	"github.com/picloud/picloud/executor/hostcall"
	"github.com/picloud/picloud/executor/risor/data"
)

var fetchFaults = []Fault{
	{"http_invalid_request", "the URL, the method or a header is not valid; the message says which"},
	{"egress_denied", "the function may not call that host or address, see `picloud egress allow`"},
	{"http_dns", "the host's name was not found"},
	{"http_connect", "no connection to the host: it is down, or nothing listens on the port"},
	{"http_tls", "the host has no certificate that the node trusts"},
	{"http_timeout", "the answer was not complete within the timeout"},
	{"http_too_large", "the body is over `max_body`, or the headers are over their limit"},
	{"http_redirects", "the answer redirects more often than `redirects` allows"},
	{"http_busy", "the app has too many requests under way, or the node no memory for the answer"},
	{"http_failed", "the exchange failed in another way; the message says how"},
	{hostcall.CodeNotSent, "`picloud test` makes requests only with `--net`"},
	{hostcall.CodeOutboundLimit, "the call has made as many requests as the limit `outbound_calls` allows"},
}

// typeJSON is the content type of a body that the option json gives.
const typeJSON = "application/json"

const fetchOptions = " Options: `method`, `headers` (a map; a list as value repeats a header; `req.headers` itself passes on what the request brought, without what belongs to its connection), `body` (string or bytes) or `json` (any data), `timeout` (a duration, default 10 s and at most what is left of the call), " +
	"`redirects` (how many to follow, at most 20, default 5; 0: the redirect itself is the answer), `max_body` (bytes of the answer, default 8 MiB, at most 12 MiB)."

func httpModule() Module {
	url := Arg{Name: "url", Type: "string"}
	options := Arg{Name: "options", Type: "map", Optional: true}
	return Module{
		Name: "http",
		Doc: "Requests to other servers, and cookies. A function may call only what its `egress` rules name; there are none at first: `picloud egress allow NAME api.example.org`. " +
			"Addresses of private networks need a rule for the address or its range, and other services of the same machine the rule `localhost:PORT`.",
		Functions: []Function{
			{
				Name: "fetch", Args: []Arg{url, options}, Returns: "response",
				Doc:    "Send a request and wait for the whole answer. An answer is not an error, whatever its status." + fetchOptions,
				Errors: fetchFaults,
				Example: example(`let r = http.fetch("https://api.example.org/items", {method: "POST", json: {name: "tea"}, timeout: "5s"})`, `r.status   // → 201`,
					`r.json()   // → {"id":7,"name":"tea"}`, `http.fetch("https://elsewhere.example")   // → error egress_denied`),
				call: func(a *arguments) (object.Object, error) { return fetch(a, "", nil, 1) },
			},
			{
				Name: "get", Args: []Arg{url, options}, Returns: "response",
				Doc:     "`http.fetch` with method GET.",
				Errors:  fetchFaults,
				Example: example(`http.get("https://api.example.org/items/7").json().name   // → "tea"`, `http.get("https://api.example.org/nothing").ok            // → false`),
				call:    func(a *arguments) (object.Object, error) { return fetch(a, "GET", nil, 1) },
			},
			{
				Name: "post", Args: []Arg{url, {Name: "body", Type: "any"}, options}, Returns: "response",
				Doc:     "`http.fetch` with method POST: strings and bytes are sent as they are, other data as JSON.",
				Errors:  fetchFaults,
				Example: `http.post("https://api.example.org/items", {name: "tea"}).status   // → 201`,
				call:    func(a *arguments) (object.Object, error) { return fetch(a, "POST", a.values[1], 2) },
			},
			cookieFunction(),
		},
		Types: []*Type{responseType(), fileType()},
	}
}

// fetch sends a request. The body is that of http.post; nil: see the options.
func fetch(a *arguments, method string, body object.Object, at int) (object.Object, error) {
	o := a.options(at, "method", "headers", "body", "json", "timeout", "redirects", "max_body")
	request := hostcall.Fetch{URL: a.text(0), Method: o.text("method", method), Timeout: o.duration("timeout")}
	header, typed := o.headers()
	content, contentType := o.body(body)
	if contentType != "" && !typed {
		header = append(header, hostcall.Field{Name: "content-type", Value: contentType})
	}
	request.Header, request.Body = header, content
	if _, ok := o.get("redirects"); ok {
		request.Redirects = hostcall.Redirects{Given: true, Count: int(o.int("redirects", 0, 0, hostcall.MaxRedirects))}
	}
	if _, ok := o.get("max_body"); ok {
		request.MaxBody = o.int("max_body", 0, 1, hostcall.MaxBody)
	}
	v, err := a.ask(hostcall.HTTPFetch, request)
	if err != nil {
		return nil, err
	}
	return newResponse(v), nil
}

// body returns the body of the request, and its content type when the script need
// not name one.
func (o options) body(body object.Object) (content []byte, contentType string) {
	given := 0
	if body != nil {
		given++
	}
	if v, ok := o.get("body"); ok {
		given++
		switch v.(type) {
		case *object.String, *object.Bytes:
		default:
			o.wrong("body", "a string or bytes; data goes into json")
		}
		body = v
	}
	asJSON, ok := o.items["json"]
	if ok {
		given++
		body = asJSON
	}
	if given > 1 {
		_ = o.invalid("give the body once: as an argument, as body or as json")
		return nil, ""
	}
	switch b := body.(type) {
	case nil:
		return nil, ""
	case *object.Bytes:
		if !ok {
			return b.Value(), ""
		}
	case *object.String:
		if !ok {
			return []byte(b.Value()), ""
		}
	}
	w := data.JSONWriter{Limit: maxJSONText}
	if err := w.Write(body); err != nil {
		_ = o.invalid("the body cannot be written as JSON: " + err.Error())
		return nil, ""
	}
	return w.Buf, typeJSON
}

// headers reads the option of that name, and whether it has a content type.
func (o options) headers() (header []hostcall.Field, typed bool) {
	v, ok := o.get("headers")
	if !ok {
		return nil, false
	}
	if f, ok := v.(*data.Fields); ok {
		return forwarded(f)
	}
	m, ok := asMap(v)
	if !ok {
		o.wrong("headers", "a map")
		return nil, false
	}
	for _, name := range m.SortedKeys() {
		values := []object.Object{m.Get(name)}
		if list, ok := values[0].(*object.List); ok {
			values = list.Value()
		}
		for _, value := range values {
			text, ok := HeaderValue(value)
			if !ok {
				_ = o.invalid(fmt.Sprintf("header %q must be a string without line breaks, a number or a list of them, not %s", data.Shorten(name, 80), data.Show(value)))
			}
			header = append(header, hostcall.Field{Name: name, Value: text})
		}
		typed = typed || strings.EqualFold(name, "content-type")
	}
	return header, typed
}

// forwarded are the headers of another message, such as req.headers, as a request
// passes them on.
func forwarded(f *data.Fields) (header []hostcall.Field, typed bool) {
	for name, value := range f.Forward() {
		header = append(header, hostcall.Field{Name: name, Value: strings.ToValidUTF8(value, "�")})
		typed = typed || name == "content-type"
	}
	return header, typed
}

// HeaderValue is a value as a header, if it can be one: a string without line breaks,
// or a number.
func HeaderValue(v object.Object) (string, bool) {
	switch v := v.(type) {
	case *object.String:
		s := v.Value()
		for i := range len(s) {
			if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
				return "", false
			}
		}
		return s, utf8.ValidString(s)
	case *object.Int, *object.Float, *object.Byte:
		return v.Inspect(), true
	}
	return "", false
}
