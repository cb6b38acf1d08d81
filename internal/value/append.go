package value

import (
	"encoding/binary"
	"math"
)

// The major types of CBOR, as the high bits of an item's first byte.
const (
	majorUint  = 0 << 5
	majorNeg   = 1 << 5
	majorBytes = 2 << 5
	majorText  = 3 << 5
	majorList  = 4 << 5
	majorMap   = 5 << 5
	majorMask  = 7 << 5
)

// The first bytes of items that are neither numbers of major types nor sequences.
const (
	codeFalse  = 0xf4
	codeTrue   = 0xf5
	codeNull   = 0xf6
	codeHalf   = 0xf9
	codeSingle = 0xfa
	codeDouble = 0xfb
)

// appendHead appends a major type and its argument in the shortest form.
func appendHead(dst []byte, major byte, n uint64) []byte {
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

// AppendNull appends null.
func AppendNull(dst []byte) []byte { return append(dst, codeNull) }

// AppendBool appends a boolean.
func AppendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, codeTrue)
	}
	return append(dst, codeFalse)
}

// AppendInt appends an integer in its shortest form.
func AppendInt(dst []byte, n int64) []byte {
	if n < 0 {
		return appendHead(dst, majorNeg, uint64(-1-n))
	}
	return appendHead(dst, majorUint, uint64(n))
}

// AppendFloat appends a float in the shortest of the forms that keep its value:
// 16, 32 or 64 bits. Every NaN becomes the same one.
func AppendFloat(dst []byte, f float64) []byte {
	if math.IsNaN(f) {
		return append(dst, codeHalf, 0x7e, 0x00)
	}
	single := float32(f)
	if float64(single) != f {
		return binary.BigEndian.AppendUint64(append(dst, codeDouble), math.Float64bits(f))
	}
	if half, ok := narrow(single); ok {
		return binary.BigEndian.AppendUint16(append(dst, codeHalf), half)
	}
	return binary.BigEndian.AppendUint32(append(dst, codeSingle), math.Float32bits(single))
}

// narrow returns the 16-bit form of a float that is not NaN, if that keeps its value.
func narrow(f float32) (half uint16, ok bool) {
	bits := math.Float32bits(f)
	sign := uint16(bits >> 16 & 0x8000)
	exponent, mantissa := int(bits>>23&0xff), bits&(1<<23-1)
	switch exponent {
	case 0xff: // infinite
		return sign | 0x7c00, true
	case 0: // zero; a subnormal of 32 bits is too small for 16
		return sign, mantissa == 0
	}
	exponent -= 127
	switch {
	case exponent >= -14 && exponent <= 15: // a normal number of 16 bits
		return sign | uint16(exponent+15)<<10 | uint16(mantissa>>13), mantissa&(1<<13-1) == 0
	case exponent >= -24 && exponent < -14: // a subnormal number of 16 bits
		mantissa |= 1 << 23
		shift := 13 + (-14 - exponent)
		return sign | uint16(mantissa>>shift), mantissa&(1<<shift-1) == 0
	}
	return 0, false
}

// widen returns the value of a 16-bit float.
func widen(bits uint16) float64 {
	mantissa, exponent := float64(bits&0x3ff), int(bits>>10&0x1f)
	var f float64
	switch exponent {
	case 0:
		f = math.Ldexp(mantissa, -24)
	case 31:
		if f = math.Inf(1); mantissa != 0 {
			f = math.NaN()
		}
	default:
		f = math.Ldexp(mantissa+1024, exponent-25)
	}
	if bits&0x8000 != 0 {
		f = -f
	}
	return f
}

// AppendText appends text, which must be UTF-8.
func AppendText(dst []byte, s string) []byte {
	return append(appendHead(dst, majorText, uint64(len(s))), s...)
}

// AppendBytes appends bytes.
func AppendBytes(dst, b []byte) []byte {
	return append(appendHead(dst, majorBytes, uint64(len(b))), b...)
}

// AppendList appends the head of a list. Its n items follow.
func AppendList(dst []byte, n int) []byte { return appendHead(dst, majorList, uint64(n)) }

// AppendMap appends the head of a map. Its n pairs follow, each a text and an item,
// in the order of CompareKeys.
func AppendMap(dst []byte, n int) []byte { return appendHead(dst, majorMap, uint64(n)) }

// CompareKeys is the order of a map's keys: by length, then by their bytes.
func CompareKeys(a, b string) int {
	switch {
	case len(a) != len(b):
		return len(a) - len(b)
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
