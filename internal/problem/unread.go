package problem

import (
	"net/http"
	"time"
)

// lingerTime is how long Linger takes at most.
const lingerTime = 2 * time.Second

// Last makes the answer that is written next the last one on its connection.
// net/http then sends it at once, and not after it has read on in a body that
// nobody wants.
func Last(w http.ResponseWriter) { w.Header().Set("Connection", "close") }

// Linger sends the answer that was written and then, for a moment, throws away
// what still comes of the request's body. Without it the connection is reset
// under a client that sends first and reads later, and with it goes the answer
// that says what was wrong. Nothing may be written afterwards.
func Linger(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor != 1 || r.Body == nil || r.Header.Get("Expect") != "" {
		return // HTTP/2 ends the stream alone; who waits for "100 Continue" sends nothing
	}
	c := http.NewResponseController(w)
	if c.Flush() != nil {
		return
	}
	end := time.Now().Add(lingerTime)
	// A timer beside the deadline, since the server sets one of its own at each read.
	stop := time.AfterFunc(lingerTime, func() { _ = c.SetReadDeadline(end) })
	defer stop.Stop()
	waste := make([]byte, 16<<10)
	for time.Now().Before(end) {
		if _, err := r.Body.Read(waste); err != nil {
			return
		}
	}
}
