package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
)

// RequestEditorFn changes a request before it is sent.
type RequestEditorFn func(ctx context.Context, req *http.Request) error

// HTTPDoer sends requests; *http.Client is one.
type HTTPDoer interface {
	Do(req *http.Request) (*http.Response, error)
}

// Client has one method for each operation of openapi.yaml. It is safe for
// concurrent use.
type Client struct {
	server *url.URL // its path ends with a slash
	doer   HTTPDoer
	edit   []RequestEditorFn
}

// ClientOption changes a Client that is being made.
type ClientOption func(*Client) error //nolint:revive // clients that oapi-codegen makes call it so

// WithHTTPClient sends requests with doer. Default: an *http.Client of its own.
func WithHTTPClient(doer HTTPDoer) ClientOption {
	return func(c *Client) error {
		c.doer = doer
		return nil
	}
}

// request describes a request. The generated methods make them.
type request struct {
	method   string
	path     string // with %s for each segment
	segments []any  // strings and integers
	// params points to a struct, or is a nil pointer. A field goes into the query
	// when it is tagged `form`, else into a header.
	params      any
	contentType string
	body        io.Reader
}

func (c *Client) send(ctx context.Context, q request, edit []RequestEditorFn) (*http.Response, error) {
	segments := make([]any, len(q.segments))
	for i, s := range q.segments {
		segments[i] = url.PathEscape(fmt.Sprint(s))
	}
	target, err := c.server.Parse("." + fmt.Sprintf(q.path, segments...))
	if err != nil {
		return nil, err
	}
	query, header := parameters(q.params)
	target.RawQuery = query.Encode()
	r, err := http.NewRequestWithContext(ctx, q.method, target.String(), q.body)
	if err != nil {
		return nil, err
	}
	r.Header = header
	if q.contentType != "" {
		r.Header.Set("Content-Type", q.contentType)
	}
	for _, edits := range [][]RequestEditorFn{c.edit, edit} {
		for _, edit := range edits {
			if err := edit(ctx, r); err != nil {
				return nil, err
			}
		}
	}
	return c.doer.Do(r)
}

func parameters(params any) (url.Values, http.Header) {
	query, header := url.Values{}, http.Header{}
	v := reflect.ValueOf(params)
	if params == nil || v.IsNil() {
		return query, header
	}
	v = v.Elem()
	for i := range v.NumField() {
		field, tag := v.Field(i), v.Type().Field(i).Tag
		if field.Kind() == reflect.Pointer {
			if field.IsNil() {
				continue
			}
			field = field.Elem()
		}
		text := fmt.Sprint(field.Interface())
		if name, _, _ := strings.Cut(tag.Get("form"), ","); name != "" {
			query.Set(name, text)
		} else if name, _, _ := strings.Cut(tag.Get("json"), ","); name != "" {
			header.Set(name, text)
		}
	}
	return query, header
}
