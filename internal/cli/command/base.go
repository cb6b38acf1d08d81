package command

import (
	"errors"
	"io"
	"net/http"
	"os"

	"golang.org/x/term"

	"github.com/picloud/picloud/internal/cli/output"
	"github.com/picloud/picloud/internal/cli/target"
)

// Base is what every command is given: the global flags, the streams, and the
// way to a node.
type Base struct {
	*output.Printer
	Target    target.Finder
	App       string // --app
	Stdin     io.Reader
	Transport http.RoundTripper // of every request

	node *Node // of the first Connect
}

// Connect resolves the node and makes a client for it, once per process. It
// sends nothing yet.
func (c *Base) Connect() (*Node, error) {
	if c.node != nil {
		return c.node, nil
	}
	t, err := c.Target.Find()
	if err != nil {
		return nil, err
	}
	c.node, err = c.ConnectTo(t)
	return c.node, err
}

// FunctionURL returns where the function at path answers, on the node of Connect.
func (c *Base) FunctionURL(path string) string {
	node, err := c.Connect()
	if err != nil {
		return path
	}
	return node.FunctionURL(path)
}

// ReadInput reads at most limit+1 bytes of a file, or of standard input for "-".
func (c *Base) ReadInput(file string, limit int64) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(io.LimitReader(c.Stdin, limit+1))
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit+1))
}

// ReadHidden asks a person for a line that is not shown while it is typed.
// Standard input must be a terminal.
func (c *Base) ReadHidden(question string, args ...any) ([]byte, error) {
	terminal, ok := c.Stdin.(*os.File)
	if !ok {
		return nil, errors.New("standard input is not a terminal")
	}
	c.Question(question, args...)
	typed, err := term.ReadPassword(int(terminal.Fd()))
	c.Notef("")
	return typed, err
}
