package powercut

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Kind is what an operation does.
type Kind uint8

// The kinds of operations.
const (
	Create Kind = iota + 1
	Mkdir
	Write
	Truncate
	Grow
	Rename
	Link
	Remove
	Sync
	Note // the program says how far it is: see Say
)

func (k Kind) String() string {
	return [...]string{"nothing", "create", "mkdir", "write", "truncate", "grow", "rename", "link", "remove", "sync", "note"}[k]
}

// Op is one operation. Paths are seen from the folder.
type Op struct {
	Kind     Kind
	Path, To string
	// Offset is where data is written, the size of a file, or, of a sync, how many operations
	// had ended when it began.
	Offset int64
	Data   []byte

	index int // of a write in the record, for the model
}

func (o Op) String() string {
	text := o.Kind.String() + " " + o.Path
	if o.To != "" {
		text += " to " + o.To
	}
	if o.Kind == Write {
		text += fmt.Sprintf(" %d bytes at %d", len(o.Data), o.Offset)
	}
	return text
}

const (
	envProgram = "PICLOUD_POWERCUT_PROGRAM"
	envDir     = "PICLOUD_POWERCUT_DIR"
	envOut     = "PICLOUD_POWERCUT_OUT"

	noteDir = "/picloud-powercut/"
)

// Say writes a note into the record: what was done before it was done before the program
// went on. Elsewhere it does nothing.
func Say(note string) {
	_, _ = os.Readlink(noteDir + note)
}

// Program makes a function of the test binary a program that Record can run. It is to be
// called from an init function.
func Program(name string, work func(dir string) error) {
	Watcher()
	if os.Getenv(envProgram) != name {
		return
	}
	if err := work(os.Getenv(envDir)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Watcher makes the test binary what Command runs. It is to be called from an init function.
func Watcher() {
	out := os.Getenv(envOut)
	if out == "" {
		return
	}
	if err := os.Unsetenv(envOut); err != nil {
		panic(err)
	}
	code, err := watch(os.Args[1:], os.Getenv(envDir), out)
	if err != nil {
		fmt.Fprintln(os.Stderr, "record:", err)
		code = 125
	}
	os.Exit(code)
}

// Command is a command that runs a program, and writes into the file out what it does
// below dir. It passes signals on, and ends as the program does.
func Command(dir, out string, argv ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	cmd := exec.Command(self, argv...)
	cmd.Env = append(os.Environ(), envDir+"="+dir, envOut+"="+out)
	return cmd
}

// Record runs a program of this test binary in an empty folder, and returns what it did there.
func Record(t *testing.T, program string) []Op {
	t.Helper()
	if !Supported {
		t.Skip("recording needs Linux on amd64 or arm64")
	}
	dir, out := t.TempDir(), filepath.Join(t.TempDir(), "record")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := Command(dir, out, self)
	cmd.Env = append(cmd.Env, envProgram+"="+program)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &said, &said, time.Second
	if err := cmd.Run(); err != nil {
		t.Fatalf("record %s: %v: %s", program, err, said.String())
	}
	ops, err := Read(out)
	if err != nil {
		t.Fatal(err)
	}
	if err := same(dir, ops); err != nil {
		t.Fatalf("the record of %s is not complete: %v", program, err)
	}
	return ops
}

// Read reads what Command has written.
func Read(out string) (ops []Op, err error) {
	file, err := os.Open(out)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	for decoder := gob.NewDecoder(file); ; {
		var o Op
		err := decoder.Decode(&o)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) { // it was killed
			return ops, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read record: %w", err)
		}
		ops = append(ops, o)
	}
}
