package cli

import (
	"io"
	"os"

	"golang.org/x/term"
)

// outlet is standard output. It remembers that something could not be written,
// so that no command ends well whose output is cut: on a full disk, say.
type outlet struct {
	io.Writer
	err error
}

// Write implements io.Writer.
func (o *outlet) Write(p []byte) (int, error) {
	n, err := o.Writer.Write(p)
	if o.err == nil {
		o.err = err
	}
	return n, err
}

// terminal reports whether stream is a terminal that a person looks at.
func terminal(stream any) bool {
	if o, ok := stream.(*outlet); ok {
		stream = o.Writer
	}
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
