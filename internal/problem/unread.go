package problem

import (
	"net/http"
	"time"
)

// lingerTime is how long Linger takes at most.
const lingerTime = 2 * time.Second

// Last makes the next answer the last one on its connection. net/http then sends the
// answer at once, instead of reading the rest of the request's body first. On HTTP/2 it
// does nothing: a stream ends alone there, and the header would end the connection
// with all of its streams.
func Last(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close")
	}
}

// discarded is how much of a body net/http reads by itself before it answers.
const discarded = 256 << 10

// Unread prepares an answer to a request whose body nobody reads. The caller answers,
// and then calls the function that Unread returns. Without both, a client that sends a
// large body before it reads would have its connection reset, and lose the answer.
func Unread(w http.ResponseWriter, r *http.Request) (answered func()) {
	if r.ContentLength >= 0 && r.ContentLength <= discarded {
		return func() {}
	}
	Last(w, r)
	return func() { Linger(w, r) }
}

// Linger sends the answer that was written. Then, for at most lingerTime, it reads
// and discards the rest of the request's body. Without it the server would reset the
// connection while the client still sends, and the client would lose the answer.
// The caller writes nothing afterwards.
func Linger(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor != 1 || r.Body == nil || r.Header.Get("Expect") != "" {
		return // HTTP/2 resets the stream only; a client that waits for "100 Continue" sends nothing
	}
	c := http.NewResponseController(w)
	if c.Flush() != nil {
		return
	}
	end := time.Now().Add(lingerTime)
	// The timer is needed because the server sets its own deadline at each read.
	stop := time.AfterFunc(lingerTime, func() { _ = c.SetReadDeadline(end) })
	defer stop.Stop()
	waste := make([]byte, 16<<10)
	for time.Now().Before(end) {
		if _, err := r.Body.Read(waste); err != nil {
			return
		}
	}
}
