package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/picloud/picloud"
)

// bodyReader reads the body of a request, whose size is bounded already.
type bodyReader interface {
	read(r *http.Request) error
}

// object is a JSON body, which is required.
type object[T any] struct{ value T }

func (o *object[T]) read(r *http.Request) error { return decodeBody(r, &o.value, true) }

// optional is a JSON body that may be absent.
type optional[T any] struct{ value T }

func (o *optional[T]) read(r *http.Request) error { return decodeBody(r, &o.value, false) }

// patch is a JSON merge patch (RFC 7396) of what T describes: the patch of each
// member that it names.
type patch[T any] map[string]json.RawMessage

func (p *patch[T]) read(r *http.Request) error {
	var body json.RawMessage
	if err := decodeBody(r, &body, true); err != nil {
		return err
	}
	members, err := readPatch[T](body)
	*p = members
	return err
}

// raw is a body that the handler reads, because its meaning depends on its
// content type or because no error may quote it.
type raw struct {
	contentType string
	reader      io.Reader
}

func (b *raw) read(r *http.Request) error { //nolint:unparam // the interface of bodies
	b.contentType, b.reader = r.Header.Get("Content-Type"), r.Body
	return nil
}

// read ignores a body that the contract does not have.
func (*none) read(*http.Request) error { return nil }

// decodeBody reads a JSON body into v, and refuses what the contract does not
// know: other fields, other types, anything after the value.
func decodeBody(r *http.Request, v any, required bool) error {
	body, err := readBody(r.Body)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(body)) == 0 {
		if required {
			return &picloud.Error{Code: picloud.CodeInvalid, Detail: "the request has no body", Hint: "send a JSON object"}
		}
		return nil
	}
	return decode(body, v)
}

// readBody reads a body that is bounded already.
func readBody(body io.Reader) ([]byte, error) {
	b, err := io.ReadAll(body)
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return nil, tooLarge(over.Limit)
	case err != nil:
		return nil, &picloud.Error{Code: picloud.CodeInvalid, Detail: "the request's body ended early"}
	}
	return b, nil
}

// media is what a body can be when a path takes several kinds.
type media int

const (
	mediaBytes media = iota
	mediaJSON
	mediaText
)

// mediaOf says what a body of a content type is. A form is refused: it is what
// tools send that were not told a type, and would arrive with its escapes.
func mediaOf(contentType string) (media, error) {
	kind, _, _ := mime.ParseMediaType(contentType)
	switch {
	case kind == "application/json" || strings.HasSuffix(kind, "+json"):
		return mediaJSON, nil
	case kind == "text/plain":
		return mediaText, nil
	case kind == "application/x-www-form-urlencoded" || strings.HasPrefix(kind, "multipart/"):
		return 0, &picloud.Error{
			Code: picloud.CodeInvalid, Detail: "the body is a form, not the value",
			Hint: "send the value with its type, for example: curl -T FILE -H 'Content-Type: application/json'",
		}
	default:
		return mediaBytes, nil
	}
}
