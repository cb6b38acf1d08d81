package keys

import (
	"encoding/binary"
	"math"
)

// Integers are kept as numbers, so that the database can add to them. Callers
// see CBOR only (RFC 8949): major type 0 is n, 1 is -1-n, and n follows in the
// first byte's low bits or in 1, 2, 4 or 8 bytes.

// readInteger reads a value that is one CBOR integer of 64 bits.
func readInteger(b []byte) (int64, bool) {
	if len(b) == 0 || b[0]>>5 > 1 {
		return 0, false
	}
	var n uint64
	switch short := b[0] & 31; {
	case short < 24 && len(b) == 1:
		n = uint64(short)
	case short == 24 && len(b) == 2:
		n = uint64(b[1])
	case short == 25 && len(b) == 3:
		n = uint64(binary.BigEndian.Uint16(b[1:]))
	case short == 26 && len(b) == 5:
		n = uint64(binary.BigEndian.Uint32(b[1:]))
	case short == 27 && len(b) == 9:
		n = binary.BigEndian.Uint64(b[1:])
	default:
		return 0, false
	}
	if n > math.MaxInt64 {
		return 0, false
	}
	if b[0]>>5 == 1 {
		return -1 - int64(n), true
	}
	return int64(n), true
}

// appendInteger writes a CBOR integer in its shortest form.
func appendInteger(dst []byte, v int64) []byte {
	major, n := byte(0), uint64(v)
	if v < 0 {
		major, n = 1<<5, uint64(-1-v)
	}
	switch {
	case n < 24:
		return append(dst, major|byte(n))
	case n <= math.MaxUint8:
		return append(dst, major|24, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, major|25), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, major|27), n)
}
