package wire

import (
	"fmt"
	"reflect"
	"sync"

	"github.com/fxamacker/cbor/v2"
)

// codec is built on first use: most workers never send a dynamic value.
var codec = sync.OnceValues(func() (cbor.EncMode, cbor.DecMode) {
	enc, err := cbor.EncOptions{
		Time:          cbor.TimeRFC3339Nano,
		TimeTag:       cbor.EncTagNone,
		ShortestFloat: cbor.ShortestFloat16,
		IndefLength:   cbor.IndefLengthForbidden,
		TagsMd:        cbor.TagsForbidden,
	}.EncMode()
	if err != nil {
		panic(fmt.Sprintf("build the encoder: %v", err)) // a programming error in the options
	}
	dec, err := cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:  32,
		MaxArrayElements: 1 << 16,
		MaxMapPairs:      1 << 14,
		IndefLength:      cbor.IndefLengthForbidden,
		TagsMd:           cbor.TagsForbidden,
		IntDec:           cbor.IntDecConvertSignedOrFail,
		DefaultMapType:   reflect.TypeFor[map[string]any](),
		UTF8:             cbor.UTF8RejectInvalid,
	}.DecMode()
	if err != nil {
		panic(fmt.Sprintf("build the decoder: %v", err))
	}
	return enc, dec
})

// Marshal encodes a dynamic value: nil, bool, numbers, string, []byte, []any
// and map[string]any, nested at most 32 deep.
func Marshal(v any) ([]byte, error) {
	enc, _ := codec()
	b, err := enc.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode value: %w", err)
	}
	return b, nil
}

// Unmarshal decodes a dynamic value into those same types, integers as int64.
// It refuses what is nested too deep, tagged, of indefinite length or not
// UTF-8. The empty input is nil. Nothing of the value aliases b.
func Unmarshal(b []byte) (any, error) {
	if len(b) == 0 {
		return nil, nil
	}
	_, dec := codec()
	var v any
	if err := dec.Unmarshal(b, &v); err != nil {
		return nil, fmt.Errorf("decode value: %w: %w", ErrMalformed, err)
	}
	return v, nil
}
