package module

import (
	"fmt"
	"sync"
	"unicode/utf8"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"

	"github.com/picloud/picloud/executor/hostcall"
	"github.com/picloud/picloud/executor/risor/data"
	"github.com/picloud/picloud/executor/wire"
)

// response is what http.fetch returns. Like the request it decodes what is
// read, when it is read.
type response struct {
	readonly
	status  int64
	answer  object.Object // the host's
	headers *data.Fields
}

var (
	_ object.Object = (*response)(nil)
	_ data.Mapped   = (*response)(nil)
)

func newResponse(answer object.Object) *response {
	r := &response{answer: answer}
	if n, ok := item(answer, "status").(*object.Int); ok {
		r.status = n.Value()
	}
	return r
}

// header returns the headers; their block is built at the first look.
func (r *response) header() *data.Fields {
	if r.headers != nil {
		return r.headers
	}
	var pairs []object.Object
	if list, ok := item(r.answer, "headers").(*object.List); ok {
		pairs = list.Value()
	}
	var block wire.Pairs
	for i, v := range pairs {
		pair, _ := v.(*object.List)
		if pair == nil || pair.Size() != 2 || i >= wire.MaxPairs || len(block) > wire.MaxPairsBytes {
			continue
		}
		name, _ := pair.Value()[0].(*object.String)
		value, _ := pair.Value()[1].(*object.String)
		if name != nil && value != nil {
			block = block.AppendPair(name.Value(), value.Value())
		}
	}
	r.headers = data.NewHeaders(block)
	return r.headers
}

func (r *response) body() *object.Bytes {
	if b, ok := item(r.answer, "body").(*object.Bytes); ok {
		return b
	}
	return object.NewBytes(nil)
}

// AsMap implements data.Mapped: the response as data, without its body.
func (r *response) AsMap() *object.Map {
	return object.NewMap(map[string]object.Object{
		"status": object.NewInt(r.status), "ok": object.NewBool(r.ok()), "url": item(r.answer, "url"), "headers": r.header(),
	})
}

func (r *response) ok() bool { return r.status >= 200 && r.status < 300 }

// Type implements object.Object.
func (r *response) Type() object.Type { return "response" }

// Inspect implements object.Object.
func (r *response) Inspect() string { return fmt.Sprintf("response(%d)", r.status) }

// Interface implements object.Object.
func (r *response) Interface() any { return r.Inspect() }

// Equals implements object.Object.
func (r *response) Equals(other object.Object) bool { return r == other }

// Attrs implements object.Object.
func (r *response) Attrs() []object.AttrSpec { return responseType().specs() }

// GetAttr implements object.Object.
func (r *response) GetAttr(name string) (object.Object, bool) { return responseType().attr(r, name) }

var responseTypeOnce struct {
	sync.Once
	made *Type
}

func responseType() *Type {
	responseTypeOnce.Do(func() { responseTypeOnce.made = makeResponseType() })
	return responseTypeOnce.made
}

func makeResponseType() *Type {
	value := func(name, returns, doc string, get func(*response) object.Object) Function {
		return Function{Name: name, Returns: returns, Doc: doc, Value: true, call: func(a *arguments) (object.Object, error) {
			return get(a.self.(*response)), nil
		}}
	}
	return &Type{
		Name: "response",
		Self: "r",
		Doc:  "An answer from another server. Nothing of it is decoded before it is read; as data (JSON, logs) it is its status, URL and headers.",
		Members: []Function{
			value("status", "int", "the status, such as 200", func(r *response) object.Object { return object.NewInt(r.status) }),
			value("ok", "bool", "whether the status is 200 to 299", func(r *response) object.Object { return object.NewBool(r.ok()) }),
			value("url", "string", "where the answer came from, after redirects", func(r *response) object.Object { return item(r.answer, "url") }),
			value("headers", "map", "by lower-case name, as `req.headers`", func(r *response) object.Object { return r.header() }),
			value("body", "bytes", "the body", func(r *response) object.Object { return r.body() }),
			{
				Name: "text", Returns: "string", Doc: "The body as a string.",
				Errors: []Fault{{"invalid_utf8", "the body is not UTF-8; `body` has its bytes"}},
				call: func(a *arguments) (object.Object, error) {
					body := a.self.(*response).body().Value()
					if !utf8.Valid(body) {
						return nil, hostcall.Errorf("invalid_utf8", "the body of the answer is not UTF-8; its bytes are in body")
					}
					return object.NewString(string(body)), nil
				},
			},
			{
				Name: "json", Returns: "any", Doc: "The body as JSON.",
				Errors: []Fault{{"json_invalid", "the body is not JSON"}},
				call: func(a *arguments) (object.Object, error) {
					return data.ReadJSONUntil(a.self.(*response).body().Value(), a.ctx.Err)
				},
			},
		},
		Example: example(`let r = http.get("https://api.example.org/items/7")`, `r.ok                     // → true`, `r.url                    // → "https://api.example.org/items/7"`,
			`r.headers.content_type   // → "application/json"`, `r.headers.get("x-no")    // → null`, `len(r.body)              // → 21`, `r.text()                 // → "{\"id\":7,\"name\":\"tea\"}"`, `r.json().id              // → 7`),
	}
}
