package risor

import (
	"context"
	"unicode/utf8"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"
	"github.com/deepnoodle-ai/risor/v2/pkg/op"

	"github.com/picloud/picloud/executor/hostcall"
	"github.com/picloud/picloud/executor/risor/data"
	"github.com/picloud/picloud/executor/risor/module"
)

// request is what handle(req) gets. It decodes what is read, when it is read.
type request struct {
	call    *Call
	query   *data.Fields
	headers *data.Fields
	params  *data.Fields
	body    *object.Bytes
}

var (
	_ object.Object = (*request)(nil)
	_ data.Mapped   = (*request)(nil)
)

var requestAttrs = []object.AttrSpec{
	{Name: "method", Doc: "GET, POST, …", Returns: "string"},
	{Name: "path", Doc: "The path below the function's URL, decoded, with a leading slash", Returns: "string"},
	{Name: "raw_path", Doc: "The same path as the client sent it, still encoded: it tells %2F from a slash", Returns: "string"},
	{Name: "base", Doc: "The path of the function itself, without a slash at the end: for links and redirects", Returns: "string"},
	{Name: "route", Doc: "The pattern of the settings that the request fits; empty when they have none", Returns: "string"},
	{Name: "params", Doc: "The parts of the path that the pattern names, decoded", Returns: "map"},
	{Name: "query", Doc: "Query parameters, the first value of each; all(name) lists every value", Returns: "map"},
	{Name: "headers", Doc: "Headers by lower-case name; headers.user_agent is headers[\"user-agent\"]", Returns: "map"},
	{Name: "body", Doc: "The body", Returns: "bytes"},
	{Name: "text", Doc: "The body as a string; error code invalid_utf8", Returns: "string"},
	{Name: "json", Doc: "The body as JSON; error code json_invalid", Returns: "any"},
	{Name: "client_ip", Doc: "The address that the request came from", Returns: "string"},
	{Name: "id", Doc: "The id of this call, as in the logs", Returns: "string"},
	{Name: "app", Doc: "The app that the function belongs to", Returns: "string"},
	{Name: "function", Doc: "The function's name", Returns: "string"},
	{Name: "version", Doc: "The version of the code that runs", Returns: "int"},
}

// RequestDocs documents the attributes of the request; text and json are
// methods.
func RequestDocs() []object.AttrSpec { return append([]object.AttrSpec(nil), requestAttrs...) }

// GetAttr implements object.Object.
func (r *request) GetAttr(name string) (object.Object, bool) {
	in := r.call.Request
	switch name {
	case "method":
		return text(in.Method), true
	case "path":
		return text(in.Path), true
	case "raw_path":
		if len(in.RawPath) == 0 {
			return text(in.Path), true
		}
		return text(in.RawPath), true
	case "base":
		return text(in.Base), true
	case "route":
		return text(in.Route), true
	case "query":
		if r.query == nil {
			r.query = data.NewQuery(in.Query)
		}
		return r.query, true
	case "headers":
		if r.headers == nil {
			r.headers = data.NewHeaders(in.Header)
		}
		return r.headers, true
	case "params":
		if r.params == nil {
			r.params = data.NewParams(in.Params)
		}
		return r.params, true
	case "body":
		return r.bytes(), true
	case "text":
		return requestText, true
	case "json":
		return requestJSON, true
	case "client_ip":
		return text(in.ClientIP), true
	case "id":
		return text(in.ID), true
	case "app":
		return object.NewString(r.call.App), true
	case "function":
		return object.NewString(r.call.Function), true
	case "version":
		return object.NewInt(int64(r.call.Version)), true
	}
	return nil, false
}

// text makes a string of bytes from outside; what is not UTF-8 becomes U+FFFD.
func text(b []byte) *object.String {
	if utf8.Valid(b) {
		return object.NewString(string(b))
	}
	return object.NewString(string([]rune(string(b))))
}

func (r *request) bytes() *object.Bytes {
	if r.body == nil {
		r.body = object.NewBytes(r.call.Request.Body)
	}
	return r.body
}

// The methods of requests find theirs through the call, so that reading them
// makes no new function.
var (
	requestText = object.NewBuiltin("req.text", func(ctx context.Context, args ...object.Object) (object.Object, error) {
		if len(args) != 0 {
			return nil, object.NewArgsError("req.text", 0, len(args))
		}
		body := module.AccessOf(ctx).Request.Body
		if !utf8.Valid(body) {
			return nil, hostcall.Errorf("invalid_utf8", "the request body is not UTF-8; req.body has its bytes")
		}
		return object.NewString(string(body)), nil
	})
	requestJSON = object.NewBuiltin("req.json", func(ctx context.Context, args ...object.Object) (object.Object, error) {
		if len(args) != 0 {
			return nil, object.NewArgsError("req.json", 0, len(args))
		}
		return data.ReadJSONUntil(module.AccessOf(ctx).Request.Body, ctx.Err)
	})
)

// AsMap implements data.Mapped: the request as data, without its body.
func (r *request) AsMap() *object.Map {
	m := map[string]object.Object{}
	for _, a := range requestAttrs {
		switch a.Name {
		case "body", "text", "json":
		default:
			m[a.Name], _ = r.GetAttr(a.Name)
		}
	}
	return object.NewMap(m)
}

// Type implements object.Object.
func (r *request) Type() object.Type { return "request" }

// Inspect implements object.Object.
func (r *request) Inspect() string {
	return "request(" + text(r.call.Request.Method).Value() + " " + text(r.call.Request.Path).Value() + ")"
}

// Interface implements object.Object.
func (r *request) Interface() any { return r.Inspect() }

// Equals implements object.Object.
func (r *request) Equals(other object.Object) bool { return r == other }

// Attrs implements object.Object.
func (r *request) Attrs() []object.AttrSpec { return RequestDocs() }

// SetAttr implements object.Object.
func (r *request) SetAttr(name string, _ object.Object) error {
	return object.TypeErrorf("the request is read-only (setting %q)", name)
}

// IsTruthy implements object.Object.
func (r *request) IsTruthy() bool { return true }

// RunOperation implements object.Object.
func (r *request) RunOperation(kind op.BinaryOpType, _ object.Object) (object.Object, error) {
	return nil, object.TypeErrorf("unsupported operation for request: %v", kind)
}
