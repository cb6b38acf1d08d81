package api

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor/wire"
	cbor "github.com/picloud/picloud/internal/value"
)

// Values are converted in one pass, from bytes to bytes: a value that is decoded takes
// many times the memory of its text.

// encodeValue makes of a body what the key-value store keeps: CBOR that every
// script can read.
func encodeValue(kind media, body []byte) (encoded []byte, err error) {
	if kind != mediaBytes && !utf8.Valid(body) {
		return nil, invalid("body", "must be UTF-8")
	}
	switch kind {
	case mediaText:
		encoded = cbor.AppendText(nil, string(body))
	case mediaJSON:
		encoded, err = fromJSON(body)
	default:
		encoded = cbor.AppendBytes(nil, body)
	}
	if err != nil {
		return nil, err
	}
	if len(encoded) > picloud.MaxKVValue {
		return nil, &picloud.Error{
			Code:   picloud.CodeTooLarge,
			Detail: fmt.Sprintf("the value has %d bytes in its stored form, more than the %d that are allowed", len(encoded), picloud.MaxKVValue),
			Hint:   "split it over several keys",
		}
	}
	if shape, err := cbor.Check(encoded); err != nil || shape.Depth > picloud.MaxKVDepth {
		return nil, unreadable(err)
	}
	return encoded, nil
}

// unreadable is the error of a value that is over the bounds of scripts.
func unreadable(cause error) error {
	return &picloud.Error{
		Code: picloud.CodeInvalid, Detail: "no script could read the value", Err: cause,
		Hint: fmt.Sprintf("lists and maps nest at most %d deep, lists have at most %d items and maps %d", picloud.MaxKVDepth, cbor.MaxItems, cbor.MaxPairs),
	}
}

// fromJSON writes a JSON text as CBOR.
func fromJSON(body []byte) ([]byte, error) {
	r := jsonReader{d: json.NewDecoder(bytes.NewReader(body))}
	r.d.UseNumber()
	err := r.value(0)
	if err == nil {
		if _, more := r.d.Token(); !errors.Is(more, io.EOF) { // the decoder names what follows
			var raw json.RawMessage
			err = json.Unmarshal(body, &raw)
		}
	}
	var known *picloud.Error
	if err != nil && !errors.As(err, &known) {
		if syntax := json.Unmarshal(body, new(json.RawMessage)); syntax != nil {
			err = syntax // with its place
		}
		return nil, notJSON(body, err)
	}
	return r.out, err
}

// jsonReader reads JSON token by token.
type jsonReader struct {
	d   *json.Decoder
	out []byte
}

// member is where a value of an object stands in jsonReader.out.
type member struct {
	name     string
	from, to int
}

func (r *jsonReader) value(depth int) error {
	token, err := r.d.Token()
	if err != nil {
		return err
	}
	return r.begun(token, depth)
}

// begun writes the value that begins with a token.
func (r *jsonReader) begun(token json.Token, depth int) (err error) {
	switch t := token.(type) {
	case nil:
		r.out = cbor.AppendNull(r.out)
	case bool:
		r.out = cbor.AppendBool(r.out, t)
	case string:
		r.out = cbor.AppendText(r.out, t)
	case json.Number:
		r.out, err = appendNumber(r.out, t.String())
	case json.Delim:
		if depth >= picloud.MaxKVDepth {
			return unreadable(nil)
		}
		if t == '[' {
			return r.list(depth + 1)
		}
		return r.object(depth + 1)
	}
	return err
}

func (r *jsonReader) list(depth int) error {
	start, n := len(r.out), 0
	for ; r.d.More(); n++ {
		if n == cbor.MaxItems {
			return unreadable(nil)
		}
		if err := r.value(depth); err != nil {
			return err
		}
	}
	r.out = slices.Insert(r.out, start, cbor.AppendList(nil, n)...)
	_, err := r.d.Token()
	return err
}

func (r *jsonReader) object(depth int) error {
	start := len(r.out)
	var members []member
	for r.d.More() {
		if len(members) == cbor.MaxPairs {
			return unreadable(nil)
		}
		name, err := r.d.Token()
		if err != nil {
			return err
		}
		text, _ := name.(string)
		m := member{name: text, from: len(r.out)}
		r.out = cbor.AppendText(r.out, text)
		if err := r.value(depth); err != nil {
			return err
		}
		m.to = len(r.out)
		members = append(members, m)
	}
	slices.SortFunc(members, func(a, b member) int { return cbor.CompareKeys(a.name, b.name) })
	sorted := cbor.AppendMap(make([]byte, 0, len(r.out)-start+5), len(members))
	for i, m := range members {
		if i > 0 && members[i-1].name == m.name {
			return invalid("body", "has the name "+strconv.Quote(picloud.Shorten(m.name, 40))+" twice in one object")
		}
		sorted = append(sorted, r.out[m.from:m.to]...)
	}
	r.out = append(r.out[:start], sorted...)
	_, err := r.d.Token()
	return err
}

// appendNumber gives numbers the types that scripts have: whole ones 64 bits, none of
// which is lost, the others floats.
func appendNumber(dst []byte, text string) ([]byte, error) {
	if !strings.ContainsAny(text, ".eE") {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, invalid("body", "has the whole number "+picloud.Shorten(text, 40)+", which 64 bits do not hold; send it as a string or with a point")
		}
		return cbor.AppendInt(dst, n), nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, invalid("body", "has the number "+picloud.Shorten(text, 40)+", which is out of range")
	}
	return cbor.AppendFloat(dst, f), nil
}

// decodeValue reads what the key-value store keeps, as JSON, or as bytes when
// it is bytes. JSON has a point or an exponent in floats, so that it comes back
// as what it was; NaN and the infinities, which JSON has not, are null.
func decodeValue(encoded []byte) (kind media, body []byte, err error) {
	item := cbor.Item(encoded)
	if _, err := cbor.Check(encoded); err != nil {
		if item, err = ordered(encoded); err != nil {
			return 0, nil, fmt.Errorf("read stored value: %w", err)
		}
	}
	if b, ok := item.Bytes(); ok {
		return mediaBytes, b, nil
	}
	var w jsonWriter
	w.text = json.NewEncoder(&w.out)
	w.text.SetEscapeHTML(false)
	w.value(item)
	return mediaJSON, w.out.Bytes(), nil
}

// ordered reads a value whose maps are not in order: earlier versions of this API wrote
// such ones.
func ordered(encoded []byte) (cbor.Item, error) {
	v, err := wire.Unmarshal(encoded)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(printable(v))
	if err != nil {
		return nil, err
	}
	return fromJSON(text)
}

// printable replaces what encoding/json would write as something else.
func printable(v any) any {
	switch v := v.(type) {
	case float64:
		return json.RawMessage(appendFloat(nil, v))
	case []any:
		for i := range v {
			v[i] = printable(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = printable(v[name])
		}
	}
	return v
}

// jsonWriter writes values that are checked as JSON.
type jsonWriter struct {
	out  bytes.Buffer
	text *json.Encoder // to out
}

func (w *jsonWriter) value(i cbor.Item) {
	if n, ok := i.Int(); ok {
		w.out.Write(strconv.AppendInt(w.out.AvailableBuffer(), n, 10))
	} else if f, ok := i.Float(); ok {
		w.out.Write(appendFloat(w.out.AvailableBuffer(), f))
	} else if s, ok := i.Text(); ok {
		w.string(s)
	} else if b, ok := i.Bytes(); ok {
		w.string(base64.StdEncoding.EncodeToString(b))
	} else if b, ok := i.Bool(); ok {
		w.out.Write(strconv.AppendBool(w.out.AvailableBuffer(), b))
	} else if _, items, ok := i.List(); ok {
		sep := byte('[')
		for item := range items {
			w.out.WriteByte(sep)
			w.value(item)
			sep = ','
		}
		w.end(sep, "[", "]")
	} else if n, pairs, ok := i.Map(); ok {
		w.object(n, pairs)
	} else {
		w.out.WriteString("null")
	}
}

// object writes a map, with its names in the order of people.
func (w *jsonWriter) object(n int, pairs func(func(string, cbor.Item) bool)) {
	type pair struct {
		name string
		item cbor.Item
	}
	sorted := make([]pair, 0, n)
	for name, item := range pairs {
		sorted = append(sorted, pair{name, item})
	}
	slices.SortFunc(sorted, func(a, b pair) int { return strings.Compare(a.name, b.name) })
	sep := byte('{')
	for _, p := range sorted {
		w.out.WriteByte(sep)
		w.string(p.name)
		w.out.WriteByte(':')
		w.value(p.item)
		sep = ','
	}
	w.end(sep, "{", "}")
}

// end closes a list or an object, which has no item if nothing followed its beginning.
func (w *jsonWriter) end(sep byte, begin, end string) {
	if sep != ',' {
		w.out.WriteString(begin)
	}
	w.out.WriteString(end)
}

func (w *jsonWriter) string(s string) {
	_ = w.text.Encode(s)            // a text in memory
	w.out.Truncate(w.out.Len() - 1) // the newline behind it
}

func appendFloat(dst []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(dst, "null"...)
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, 'g', -1, 64)
	if !bytes.ContainsAny(dst[start:], ".e") {
		dst = append(dst, ".0"...)
	}
	return dst
}
