package wire

// Reason is the kind of a failure, as far as the worker can tell it.
type Reason uint8

// The reasons.
const (
	ReasonNone             Reason = 0  // no failure
	ReasonError            Reason = 1  // the handler raised an error
	ReasonTimeout          Reason = 2  // the worker noticed the deadline itself
	ReasonCancelled        Reason = 3  // a Cancel stopped the call
	ReasonNoHandler        Reason = 4  // the program has no handler for this trigger
	ReasonResponse         Reason = 5  // the handler returned something that is not a response
	ReasonResponseTooLarge Reason = 6  // the response is over Load.ResponseBody
	ReasonScript           Reason = 7  // the source does not compile, or its top level raised an error
	ReasonSourceBounds     Reason = 8  // the source is over its bounds
	ReasonCompileBudget    Reason = 9  // loading took too long
	ReasonNotLoaded        Reason = 10 // there is no program in the slot
	ReasonInternal         Reason = 11 // the worker failed, and says so before it ends
	ReasonRequest          Reason = 12 // the handler could not read the request's body, which is the caller's fault

	lastReason = ReasonRequest
)

// The longest texts of a failure in bytes; longer ones are cut by the sender.
const (
	MaxMessage = 8 << 10
	MaxExcerpt = 1 << 10
)

// Failure says why a call or a load did not succeed.
type Failure struct {
	Reason  Reason
	Message string // for people; cut to MaxMessage
	Line    int    // from 1; 0: unknown
	Column  int    // from 1; 0: unknown
	Excerpt string // the line of the source; cut to MaxExcerpt
}

func (f *Failure) appendPayload(dst []byte) (head, tail []byte) { return f.append(dst), nil }

func (f *Failure) append(dst []byte) []byte {
	dst = appendArray(dst, 5)
	dst = appendUint(dst, uint64(f.Reason))
	dst = appendBytes(dst, cut(f.Message, MaxMessage))
	dst = appendUint(dst, uint64(max(f.Line, 0)))
	dst = appendUint(dst, uint64(max(f.Column, 0)))
	return appendBytes(dst, cut(f.Excerpt, MaxExcerpt))
}

// Decode reads the payload of a Failure frame.
func (f *Failure) Decode(payload []byte) error {
	c := cursor{b: payload}
	f.decode(&c)
	if f.Reason == ReasonNone {
		c.fail()
	}
	return c.done("failure")
}

func (f *Failure) decode(c *cursor) {
	c.record(5)
	f.Reason = Reason(c.uint(uint64(lastReason)))
	f.Message = c.text(MaxMessage)
	f.Line = int(c.uint(1 << 30))
	f.Column = int(c.uint(1 << 30))
	f.Excerpt = c.text(MaxExcerpt)
}

// cut shortens s to at most n bytes, not in the middle of a UTF-8 sequence.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}
