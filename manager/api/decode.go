package api

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/strictjson"
)

// maxFieldErrors bounds how many wrong fields one answer names.
const maxFieldErrors = 20

func decode(body []byte, v any) error {
	if !utf8.Valid(body) {
		return &picloud.Error{Code: picloud.CodeInvalid, Detail: "the body is not UTF-8"}
	}
	var raw json.RawMessage
	if err := json.Unmarshal(body, &raw); err != nil {
		return notJSON(body, err)
	}
	if err := unambiguous(body); err != nil {
		return err
	}
	if fields := (shape{}).check(reflect.TypeOf(v).Elem(), raw, ""); len(fields) > 0 {
		return invalidFields(fields[:min(len(fields), maxFieldErrors)])
	}
	if err := json.Unmarshal(body, v); err != nil {
		return &picloud.Error{Code: picloud.CodeInvalid, Detail: "the body does not fit the contract", Err: err}
	}
	return nil
}

// unambiguous refuses a body in which a member is given twice, or a string holds half of
// a surrogate pair.
func unambiguous(body []byte) error {
	var fault *strictjson.Error
	if !errors.As(strictjson.Check(body), &fault) {
		return nil
	}
	return invalid(orBody(strings.TrimPrefix(fault.Path, ".")), fault.Reason)
}

func notJSON(body []byte, err error) error {
	detail := "the body is not JSON: " + err.Error()
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		line := 1 + bytes.Count(body[:min(int(syntax.Offset), len(body))], []byte("\n"))
		detail += fmt.Sprintf(" (line %d, byte %d)", line, syntax.Offset)
	}
	return &picloud.Error{Code: picloud.CodeInvalid, Detail: detail}
}

// shape compares JSON with the Go type that it is meant for.
type shape struct {
	patch bool // the JSON is a merge patch: null in a map takes a name away
}

// check names every field that the type does not have or whose value does not
// fit. encoding/json alone stops at the first one, gives its name without the
// path, forgives wrong case, and tells nothing of where a duration is wrong.
func (s shape) check(t reflect.Type, raw json.RawMessage, path string) []picloud.FieldError {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case path != "" && string(raw) == "null":
		return nil // as if it were absent
	case decodesItself(t):
	case t.Kind() == reflect.Struct:
		return s.object(t, raw, path)
	case t.Kind() == reflect.Map:
		return s.dictionary(t, raw, path)
	case t.Kind() == reflect.Slice:
		return s.list(t, raw, path)
	}
	if err := json.Unmarshal(raw, reflect.New(t).Interface()); err != nil {
		return []picloud.FieldError{{Field: orBody(path), Message: misfit(err)}}
	}
	return nil
}

func (s shape) object(t reflect.Type, raw json.RawMessage, path string) []picloud.FieldError {
	object, ok := members(raw)
	if !ok {
		return []picloud.FieldError{{Field: orBody(path), Message: "must be an object"}}
	}
	known := map[string]reflect.StructField{}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		known[name] = f
	}
	var out []picloud.FieldError
	for _, name := range slices.Sorted(maps.Keys(object)) {
		field, ok := known[name]
		if !ok || name == "" {
			out = append(out, picloud.FieldError{Field: join(path, picloud.Shorten(name, 80)), Message: "is not known here"})
		} else if wrong := s.check(field.Type, object[name], join(path, name)); len(wrong) > 0 {
			out = append(out, wrong...)
		} else if message := refuseZero(t, field, object[name]); message != "" {
			out = append(out, picloud.FieldError{Field: join(path, name), Message: message})
		}
		if len(out) >= maxFieldErrors {
			break
		}
	}
	return out
}

// dictionary checks the values of an object whose names are the caller's.
func (s shape) dictionary(t reflect.Type, raw json.RawMessage, path string) []picloud.FieldError {
	object, ok := members(raw)
	if !ok {
		return []picloud.FieldError{{Field: orBody(path), Message: "must be an object"}}
	}
	var out []picloud.FieldError
	for _, name := range slices.Sorted(maps.Keys(object)) {
		field := join(path, picloud.Shorten(name, 80))
		if string(object[name]) != "null" {
			out = append(out, s.check(t.Elem(), object[name], field)...)
		} else if !s.patch {
			out = append(out, picloud.FieldError{Field: field, Message: "must not be null"})
		}
		if len(out) >= maxFieldErrors {
			break
		}
	}
	return out
}

func (s shape) list(t reflect.Type, raw json.RawMessage, path string) []picloud.FieldError {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return []picloud.FieldError{{Field: orBody(path), Message: "must be a list"}}
	}
	var out []picloud.FieldError
	for i, item := range list {
		out = append(out, s.check(t.Elem(), item, path+"["+strconv.Itoa(i)+"]")...)
		if len(out) >= maxFieldErrors {
			break
		}
	}
	return out
}

// members reads an object; null is none.
func members(raw json.RawMessage) (object map[string]json.RawMessage, ok bool) {
	err := json.Unmarshal(raw, &object)
	return object, err == nil && object != nil
}

// refuseZero says what is wrong with a limit that is given as zero. Inside,
// zero is the default; who writes it means something else.
func refuseZero(t reflect.Type, field reflect.StructField, raw json.RawMessage) string {
	if t != reflect.TypeFor[picloud.Limits]() && t != reflect.TypeFor[picloud.KVQuota]() {
		return ""
	}
	v := reflect.New(field.Type)
	if string(raw) == "null" || json.Unmarshal(raw, v.Interface()) != nil || !v.Elem().IsZero() {
		return ""
	}
	under := reflect.New(t)
	under.Elem().FieldByIndex(field.Index).SetInt(-1) // out of every range, so that the check names it
	var err error
	switch bounded := under.Interface().(type) {
	case *picloud.Limits:
		err = bounded.Check()
	case *picloud.KVQuota:
		err = picloud.AppSettings{KV: *bounded}.Check()
	}
	var e *picloud.Error
	if !errors.As(err, &e) || len(e.Fields) == 0 {
		return ""
	}
	return e.Fields[0].Message
}

// decodesItself reports whether a type reads its own JSON.
func decodesItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(reflect.TypeFor[json.Unmarshaler]()) || p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// misfit says in words of JSON why a value does not fit.
func misfit(err error) string {
	var typed *json.UnmarshalTypeError
	if !errors.As(err, &typed) {
		return err.Error()
	}
	switch typed.Type.Kind() {
	case reflect.Bool:
		return "must be true or false"
	case reflect.Int, reflect.Int64:
		return "must be a whole number"
	case reflect.Map, reflect.Struct:
		return "must be an object"
	case reflect.Slice:
		return "must be a list"
	default:
		return "must be a string"
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func orBody(path string) string {
	if path == "" {
		return "body"
	}
	return path
}
