package data

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"

	"github.com/picloud/picloud/internal/value"
)

var errCBOR = errors.New("the answer is malformed")

// The major types of CBOR (RFC 8949) that values use.
const (
	cborUint  = 0 << 5
	cborNeg   = 1 << 5
	cborBytes = 2 << 5
	cborText  = 3 << 5
	cborArray = 4 << 5
	cborMap   = 5 << 5
	cborFalse = 0xf4
	cborTrue  = 0xf5
	cborNull  = 0xf6
)

// cborReader decodes answers of the host into objects, without reflection and
// without copying bytes.
type cborReader struct{ b []byte }

// ReadCBOR returns the value that b holds; the empty input is null. Bytes in the
// value alias b.
func ReadCBOR(b []byte) (object.Object, error) {
	if len(b) == 0 {
		return object.Nil, nil
	}
	r := cborReader{b}
	v, err := r.value(0)
	if err == nil && len(r.b) > 0 {
		err = errCBOR
	}
	if err != nil {
		return nil, err
	}
	return v, nil
}

func (r *cborReader) value(depth int) (object.Object, error) {
	if depth > 32 || len(r.b) == 0 {
		return nil, errCBOR
	}
	first, whole := r.b[0], r.b
	n, ok := r.head()
	if !ok {
		return nil, errCBOR
	}
	switch first & 0xe0 {
	case cborUint, cborNeg:
		if n > math.MaxInt64 {
			return nil, errCBOR
		}
		if first&0xe0 == cborNeg {
			return object.NewInt(-1 - int64(n)), nil
		}
		return object.NewInt(int64(n)), nil
	case cborBytes, cborText:
		if n > uint64(len(r.b)) {
			return nil, errCBOR
		}
		part := r.b[:n:n]
		r.b = r.b[n:]
		if first&0xe0 == cborBytes {
			return object.NewBytes(part), nil
		}
		return object.NewString(strings.ToValidUTF8(string(part), "�")), nil
	case cborArray:
		return r.list(n, depth)
	case cborMap:
		return r.dict(n, depth)
	}
	switch first {
	case cborFalse:
		return object.False, nil
	case cborTrue:
		return object.True, nil
	case cborNull:
		return object.Nil, nil
	}
	if f, ok := value.Item(whole[:len(whole)-len(r.b)]).Float(); ok {
		return object.NewFloat(f), nil
	}
	return nil, errCBOR
}

// head reads the initial byte of an item and its argument.
func (r *cborReader) head() (n uint64, ok bool) {
	info := r.b[0] & 0x1f
	if info < 24 {
		r.b = r.b[1:]
		return uint64(info), true
	}
	size := 1 << (info - 24)
	if info > 27 || len(r.b) < 1+size {
		return 0, false
	}
	var wide [8]byte
	copy(wide[8-size:], r.b[1:1+size])
	r.b = r.b[1+size:]
	return binary.BigEndian.Uint64(wide[:]), true
}

func (r *cborReader) list(n uint64, depth int) (object.Object, error) {
	if n > uint64(len(r.b)) {
		return nil, errCBOR
	}
	items := make([]object.Object, n)
	for i := range items {
		var err error
		if items[i], err = r.value(depth + 1); err != nil {
			return nil, err
		}
	}
	return object.NewList(items), nil
}

func (r *cborReader) dict(n uint64, depth int) (object.Object, error) {
	if n > uint64(len(r.b)/2) {
		return nil, errCBOR
	}
	items := make(map[string]object.Object, n)
	for range n {
		k, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		name, ok := k.(*object.String)
		if !ok {
			return nil, errCBOR
		}
		if items[name.Value()], err = r.value(depth + 1); err != nil {
			return nil, err
		}
	}
	return object.NewMap(items), nil
}
