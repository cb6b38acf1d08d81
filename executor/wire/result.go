package wire

// The bounds of an answer's header, for both sides.
const (
	MaxHeaders     = 256
	MaxHeaderBytes = 64 << 10 // encoded
)

// Result is the answer of a call that succeeded.
type Result struct {
	Status int    // 0 to 999; the agent decides what it accepts
	Header Pairs  // at most MaxPairs and MaxPairsBytes
	Body   []byte // a large body is sent without a copy: do not change it before Send returns
}

func (r *Result) appendPayload(dst []byte) (head, tail []byte) {
	dst = appendArray(dst, 3)
	dst = appendUint(dst, uint64(max(r.Status, 0)))
	dst = appendBytes(dst, r.Header)
	return appendHeadOf(dst, majorBytes, uint64(len(r.Body))), r.Body
}

// Decode reads the payload of a Result frame. Header and Body alias it.
func (r *Result) Decode(payload []byte) error {
	c := cursor{b: payload}
	c.record(3)
	r.Status = int(c.uint(999))
	r.Header = Pairs(c.bytes(MaxPairsBytes))
	r.Body = c.bytes(MaxPayload)
	return c.done("result")
}
