package hostcall

import (
	"math"
	"time"

	"github.com/picloud/picloud/internal/value"
)

// Fetch is http.fetch [url, options]. Its answer is what AppendResponse writes.
// Options that are zero are not sent: {method, headers, body, timeout_ms, redirects,
// max_body}.
type Fetch struct {
	URL       string
	Method    string
	Header    []Field
	Body      []byte        // aliases the arguments when it was read
	Timeout   time.Duration // in milliseconds on the wire
	Redirects Redirects     // how many to follow
	MaxBody   int64         // of the answer, in bytes: 1 to MaxBody
}

// Field is one header field.
type Field struct{ Name, Value string }

// Redirects is a number of redirects, or that none was given.
type Redirects struct {
	Given bool
	Count int // 0 to MaxRedirects
}

// Append writes the arguments.
func (c Fetch) Append(dst []byte) []byte {
	options := 0
	for _, given := range []bool{c.Method != "", c.Body != nil, len(c.Header) > 0, c.MaxBody != 0, c.Redirects.Given, c.Timeout != 0} {
		if given {
			options++
		}
	}
	dst = value.AppendMap(value.AppendText(value.AppendList(dst, 2), c.URL), options)
	if c.Body != nil {
		dst = value.AppendBytes(value.AppendText(dst, "body"), c.Body)
	}
	if c.Method != "" {
		dst = value.AppendText(value.AppendText(dst, "method"), c.Method)
	}
	if len(c.Header) > 0 {
		dst = value.AppendList(value.AppendText(dst, "headers"), len(c.Header))
		for _, f := range c.Header {
			dst = appendField(dst, f.Name, f.Value)
		}
	}
	if c.MaxBody != 0 {
		dst = value.AppendInt(value.AppendText(dst, "max_body"), c.MaxBody)
	}
	if c.Redirects.Given {
		dst = value.AppendInt(value.AppendText(dst, "redirects"), int64(c.Redirects.Count))
	}
	if c.Timeout != 0 {
		dst = value.AppendInt(value.AppendText(dst, "timeout_ms"), c.Timeout.Milliseconds())
	}
	return dst
}

func appendField(dst []byte, name, v string) []byte {
	return value.AppendText(value.AppendText(value.AppendList(dst, 2), name), v)
}

// Read reads and checks the arguments. The error is an *Error.
func (c *Fetch) Read(a Arguments) error {
	r := read(HTTPFetch, a, 2)
	c.URL = r.text("url")
	options, _ := r.take()
	if r.err != nil || options.IsNull() {
		return r.done()
	}
	_, pairs, ok := options.Map()
	if !ok {
		r.wrong("options", "a map")
		return r.done()
	}
	for name, v := range pairs {
		c.option(&r, name, v)
	}
	return r.done()
}

func (c *Fetch) option(r *reader, name string, v value.Item) {
	switch name {
	case "method":
		var ok bool
		if c.Method, ok = v.Text(); !ok {
			r.wrong(name, "a string")
		}
	case "headers":
		c.Header = readHeader(r, v)
	case "body":
		c.Body = readBody(r, v)
	case "timeout_ms":
		c.Timeout = time.Duration(r.within(v, name, 0, math.MaxInt32)) * time.Millisecond
	case "redirects":
		c.Redirects = Redirects{true, int(r.within(v, name, 0, MaxRedirects))}
	case "max_body":
		if c.MaxBody = r.within(v, name, 0, MaxBody); c.MaxBody == 0 {
			r.wrong(name, "at least 1")
		}
	default:
		r.wrong("options", "without "+shorten(name, 40)+", which does not exist")
	}
}

func readBody(r *reader, v value.Item) []byte {
	if v.IsNull() {
		return nil
	}
	if b, ok := v.Bytes(); ok {
		return b
	}
	text, ok := v.TextBytes()
	if !ok {
		r.wrong("body", "bytes or a string")
	}
	return text
}

func readHeader(r *reader, v value.Item) []Field {
	if v.IsNull() {
		return nil
	}
	n, list, ok := v.List()
	if !ok {
		r.wrong("headers", "a list of pairs")
		return nil
	}
	out := make([]Field, 0, n)
	for item := range list {
		var pair [2]value.Item
		count, parts, ok := item.List()
		if !ok || count != len(pair) {
			r.wrong("headers", "a list of pairs")
			return nil
		}
		i := 0
		for part := range parts {
			pair[i] = part
			i++
		}
		name, ok1 := pair[0].Text()
		text, ok2 := pair[1].Text()
		if !ok1 || !ok2 {
			r.wrong("headers", "a list of pairs of strings")
			return nil
		}
		out = append(out, Field{name, text})
	}
	return out
}

// Response is the answer of http.fetch: {status, headers: [[name, value]], body, url}.
type Response struct {
	Status int
	Header []Field // valid UTF-8
	Body   []byte
	URL    string // that answered, after redirects
}

// Append writes the answer.
func (a Response) Append(dst []byte) []byte {
	dst = value.AppendText(value.AppendText(value.AppendMap(dst, 4), "url"), a.URL)
	dst = value.AppendBytes(value.AppendText(dst, "body"), a.Body)
	dst = value.AppendInt(value.AppendText(dst, "status"), int64(a.Status))
	dst = value.AppendList(value.AppendText(dst, "headers"), len(a.Header))
	for _, f := range a.Header {
		dst = appendField(dst, f.Name, f.Value)
	}
	return dst
}
