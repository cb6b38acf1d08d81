package output

import (
	"io"
	"os"

	"golang.org/x/term"
)

// Outlet is standard output. It remembers the first error of a write. A command whose
// output was cut, on a full disk for example, then does not exit with 0.
type Outlet struct {
	io.Writer
	err error
}

// Err returns the first error of a write, or nil.
func (o *Outlet) Err() error { return o.err }

// Write implements io.Writer.
func (o *Outlet) Write(p []byte) (int, error) {
	n, err := o.Writer.Write(p)
	if o.err == nil {
		o.err = err
	}
	return n, err
}

// Terminal reports whether stream is a terminal that a person looks at.
func Terminal(stream any) bool {
	switch wrapped := stream.(type) {
	case *Outlet:
		stream = wrapped.Writer
	case *Inlet:
		stream = wrapped.Reader
	}
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
