package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor/wire"
)

// encodeValue makes of a body what the key-value store keeps: CBOR that every
// script can read.
func encodeValue(kind media, body []byte) ([]byte, error) {
	var v any = body
	switch kind {
	case mediaText:
		if !utf8.Valid(body) {
			return nil, invalid("body", "must be UTF-8")
		}
		v = string(body)
	case mediaJSON:
		var raw json.RawMessage
		if !utf8.Valid(body) {
			return nil, invalid("body", "must be UTF-8")
		}
		if err := json.Unmarshal(body, &raw); err != nil {
			return nil, notJSON(body, err)
		}
		if err := unambiguous(body); err != nil {
			return nil, err
		}
		decoded, err := decodeAny(raw)
		if err != nil {
			return nil, notJSON(body, err)
		}
		if v, err = exact(decoded); err != nil {
			return nil, err
		}
	}
	encoded, err := wire.Marshal(v)
	if err == nil && len(encoded) <= picloud.MaxKVValue {
		_, err = wire.Unmarshal(nested(encoded)) // with the bounds that the executor has
	}
	if err != nil {
		return nil, &picloud.Error{
			Code: picloud.CodeInvalid, Detail: "no script could read the value", Err: err,
			Hint: fmt.Sprintf("lists and maps nest at most %d deep, lists have at most 65536 items and maps 16384", picloud.MaxKVDepth),
		}
	}
	if len(encoded) > picloud.MaxKVValue {
		return nil, &picloud.Error{
			Code:   picloud.CodeTooLarge,
			Detail: fmt.Sprintf("the value has %d bytes in its stored form, more than the %d that are allowed", len(encoded), picloud.MaxKVValue),
			Hint:   "split it over several keys",
		}
	}
	return encoded, nil
}

// nested is a value in as many lists as keep it within MaxKVDepth.
func nested(encoded []byte) []byte {
	const frames = 32 // how deep frames can be nested
	return append(bytes.Repeat([]byte{0x81}, frames-picloud.MaxKVDepth), encoded...)
}

// exact gives the numbers of decoded JSON the types that scripts have: whole
// ones 64 bits, none of which is lost, the others floats.
func exact(v any) (any, error) {
	switch v := v.(type) {
	case json.Number:
		return exactNumber(v.String())
	case []any:
		for i := range v {
			item, err := exact(v[i])
			if err != nil {
				return nil, err
			}
			v[i] = item
		}
	case map[string]any:
		for name, value := range v {
			item, err := exact(value)
			if err != nil {
				return nil, err
			}
			v[name] = item
		}
	}
	return v, nil
}

func exactNumber(text string) (any, error) {
	if !strings.ContainsAny(text, ".eE") {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, invalid("body", "has the whole number "+picloud.Shorten(text, 40)+", which 64 bits do not hold; send it as a string or with a point")
		}
		return n, nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, invalid("body", "has the number "+picloud.Shorten(text, 40)+", which is out of range")
	}
	return f, nil
}

// decodeValue reads what the key-value store keeps, as JSON, or as bytes when
// it is bytes. JSON has a point or an exponent in floats, so that it comes back
// as what it was; NaN and the infinities, which JSON has not, are null.
func decodeValue(encoded []byte) (kind media, body []byte, err error) {
	v, err := wire.Unmarshal(encoded)
	if err != nil {
		return 0, nil, fmt.Errorf("read stored value: %w", err)
	}
	if b, ok := v.([]byte); ok {
		return mediaBytes, b, nil
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(printable(v)); err != nil {
		return 0, nil, fmt.Errorf("write stored value as JSON: %w", err)
	}
	return mediaJSON, bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// printable replaces what encoding/json would write as something else.
func printable(v any) any {
	switch v := v.(type) {
	case float64:
		return printableFloat(v)
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

func printableFloat(f float64) any {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil
	}
	text := strconv.FormatFloat(f, 'g', -1, 64)
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return json.Number(text)
}
