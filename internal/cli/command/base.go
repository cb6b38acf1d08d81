package command

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/picloud/picloud/internal/cli/output"
	"github.com/picloud/picloud/internal/cli/target"
)

// maxLine bounds a line that a person types, in bytes.
const maxLine = 1000

// Base is what every command is given: the global flags, the streams, and the
// way to a node.
type Base struct {
	*output.Printer
	Target    target.Finder
	App       string // --app
	Stdin     *output.Inlet
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

// ReadHidden asks a person for a line and does not show what is typed. Standard input
// must be a terminal. Its state is restored however the question ends.
func (c *Base) ReadHidden(question string, args ...any) ([]byte, error) {
	terminal := c.Stdin.File()
	if terminal == nil {
		return nil, errors.New("standard input is not a terminal")
	}
	fd := int(terminal.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	c.Question(question, args...)
	typed, err := c.Stdin.Await(func() ([]byte, error) { return term.ReadPassword(fd) })
	_ = term.Restore(fd, before)
	c.EndLine()
	return typed, err
}

// ReadLine asks a person for a line.
func (c *Base) ReadLine(question string, args ...any) (string, error) {
	c.Question(question, args...)
	line, err := bufio.NewReader(io.LimitReader(c.Stdin, maxLine)).ReadString('\n')
	if err != nil {
		c.EndLine() // the line of the question has no end yet
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return strings.TrimSpace(line), err
}
