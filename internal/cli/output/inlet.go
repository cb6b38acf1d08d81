package output

import (
	"context"
	"io"
	"os"
	"sync"
)

// Inlet is standard input. A read from it ends when the command's context does, so
// that Ctrl-C ends a command that waits for a person.
type Inlet struct {
	io.Reader
	ctx context.Context // io.Reader has no room for it
}

// Bind makes reads end with ctx.
func (i *Inlet) Bind(ctx context.Context) { i.ctx = ctx }

// Read implements io.Reader.
func (i *Inlet) Read(p []byte) (int, error) {
	data, err := i.Await(func() ([]byte, error) {
		buf := make([]byte, len(p))
		n, err := i.Reader.Read(buf)
		return buf[:n], err
	})
	return copy(p, data), err
}

// Await returns what read returns, which waits for input. When the context ends
// first, Await returns its cause. The read then ends with the process.
func (i *Inlet) Await(read func() ([]byte, error)) ([]byte, error) {
	if i.ctx == nil {
		return read()
	}
	if i.ctx.Err() != nil {
		return nil, context.Cause(i.ctx)
	}
	type result struct {
		data []byte
		err  error
	}
	done := make(chan result, 1)
	new(sync.WaitGroup).Go(func() {
		data, err := read()
		done <- result{data, err}
	})
	select {
	case r := <-done:
		return r.data, r.err
	case <-i.ctx.Done():
		return nil, context.Cause(i.ctx)
	}
}

// File is the file behind the inlet, or nil.
func (i *Inlet) File() *os.File {
	f, _ := i.Reader.(*os.File)
	return f
}
