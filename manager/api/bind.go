package api

import (
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"

	"github.com/picloud/picloud"
)

// The parameters of paths.
type (
	inApp struct {
		App string `path:"app"`
	}
	inFunction struct {
		inApp
		Function string `path:"function"`
	}
	ofUser struct {
		User string `path:"user"`
	}
	ofNode struct {
		Node string `path:"node"`
	}
)

// none are the parameters of an operation that has none.
type none struct{}

// param is a parameter, which one field of a struct takes: tagged `path` for a
// segment of the path, `form` for one of the query, and `json` alone for a
// header, as the generator tags its …Params. A field that is not a pointer is
// required.
type param struct {
	in, name string
	index    []int // of the field
	kind     reflect.Kind
	required bool
}

func paramsOf(t reflect.Type) (out []param) {
	for _, f := range reflect.VisibleFields(t) {
		if f.Anonymous {
			continue
		}
		p := param{index: f.Index, kind: f.Type.Kind(), required: f.Type.Kind() != reflect.Pointer}
		if !p.required {
			p.kind = f.Type.Elem().Kind()
		}
		for _, tag := range [][2]string{{"path", "path"}, {"form", "query"}, {"json", "header"}} {
			if name, _, _ := strings.Cut(f.Tag.Get(tag[0]), ","); name != "" {
				p.in, p.name = tag[1], name
				break
			}
		}
		out = append(out, p)
	}
	return out
}

// bind reads the parameters of a request into the struct that v is.
func bind(r *http.Request, params []param, v reflect.Value) error {
	query := r.URL.Query() // route refuses what is malformed
	for _, p := range params {
		values, found := p.values(r, query)
		switch {
		case !found && p.required:
			return invalid(p.name, "is required")
		case !found:
			continue
		case len(values) != 1 && p.in == "header":
			return invalid(p.name, "may be given once")
		}
		field := v.FieldByIndex(p.index)
		if field.Kind() == reflect.Pointer {
			field.Set(reflect.New(field.Type().Elem()))
			field = field.Elem()
		}
		if len(values) != 1 || set(field, values[0]) != nil {
			return p.malformed()
		}
	}
	return nil
}

func (p param) values(r *http.Request, query url.Values) (values []string, found bool) {
	switch {
	case p.in == "query":
		values, found = query[p.name]
	case p.in == "header":
		values, found = r.Header[http.CanonicalHeaderKey(p.name)]
	case p.name == "key":
		values, found = []string{callOf(r.Context()).key}, true
	default:
		values, found = []string{r.PathValue(p.name)}, true
	}
	return values, found
}

func (p param) malformed() error {
	if p.in == "path" { // versions and deployments
		return &picloud.Error{Code: picloud.CodeNotFound, Detail: p.name + "s are numbers from 1"}
	}
	if p.name == "limit" {
		return badLimit()
	}
	return invalid(p.name, "has the wrong type; see openapi.json")
}

// badLimit refuses the size of a page, whether it is no number or out of range.
func badLimit() error { return invalid("limit", "must be a whole number between 1 and 200") }

func set(field reflect.Value, text string) error {
	switch field.Kind() {
	case reflect.String:
		field.SetString(text)
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, field.Type().Bits())
		if err != nil {
			return err
		}
		field.SetInt(n)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return err
		}
		field.SetBool(b)
	default:
		return fmt.Errorf("no parameter has the type %s", field.Type())
	}
	return nil
}

// maxCursor is longer than any cursor is.
const maxCursor = 256

// page reads the parameters of a list.
func page(limit *int, cursor *string) (picloud.Page, error) {
	var p picloud.Page
	if limit != nil {
		if *limit < 1 || *limit > 200 {
			return p, badLimit()
		}
		p.Limit = *limit
	}
	if cursor != nil {
		if len(*cursor) > maxCursor {
			return p, invalid("cursor", "must be the value of `next` in an earlier page")
		}
		p.Cursor = *cursor
	}
	return p, nil
}

// list makes an empty list [] instead of null.
func list[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}
