package egress

import (
	"errors"
	"io"
)

// smallBody is how much memory each body may take beside the node's budget.
const smallBody = 64 << 10

var (
	errTooLarge = errors.New("the body is over the limit")
	errNoRoom   = errors.New("no memory for the body")
)

// read reads the whole body. Memory grows with the bytes that arrive, because the
// length that a server announces may be wrong; announced is -1 when there is none.
func (r *Response) read(src io.Reader, announced, limit int64) error {
	body := make([]byte, 0, 4<<10)
	for {
		if len(body) == cap(body) {
			size := 2 * int64(cap(body))
			if len(body) >= smallBody && announced > int64(len(body)) { // it comes indeed: fewer steps leave less behind
				size = min(8*int64(cap(body)), announced+1) // one more, to see the end
			}
			size = min(size, limit+1) // one more, to see that it is over
			if !r.hold(size + int64(cap(body))) {
				return errNoRoom
			}
			grown := make([]byte, len(body), size)
			copy(grown, body)
			body = grown
			r.hold(size) // less than before: always granted
		}
		n, err := src.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case int64(len(body)) > limit:
			return errTooLarge
		case errors.Is(err, io.EOF):
			r.Body = body
			return nil
		case err != nil:
			return err
		}
	}
}

// hold sets how many bytes of the node's memory the body counts for. It reports
// false when there is no room.
func (r *Response) hold(n int64) bool {
	if n -= smallBody; n < 0 || r.memory == nil {
		n = 0
	}
	switch more := n - r.held; {
	case more > 0 && !r.memory.Take(more):
		return false
	case more < 0:
		r.memory.Give(-more)
	}
	r.held = n
	return true
}
