package cli_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files of the scripts")

// TestScripts runs testdata/script/*.txtar: each has a node of its own, and
// picloud as a process of its own. Beside testscript's commands there are:
//
//	exits CODE picloud ARG…   runs picloud and expects that exit code
//	away NODE…                nodes that deploys do not hear from
//	logged LEVEL MESSAGE      the function hello logs something
//	logged-by CALL LEVEL MESSAGE [TIMES]  the same, in a call
//	sealed NAME VALUE         the secret NAME of app default has that value
//	followed N                waits until N readers follow logs
//	called                    waits until the function "slow" runs
//	drain                     the node ends every log stream
//	signal                    interrupts the background commands, as Ctrl-C does
func TestScripts(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	bin := t.TempDir()
	require.NoError(t, os.Symlink(self, filepath.Join(bin, "picloud")))

	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			n := newNode(env.T().(testing.TB))
			env.Values["node"] = n
			env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Setenv("HOME", env.WorkDir+"/home")
			env.Setenv("TZ", "UTC")
			env.Setenv("GORACE", "atexit_sleep_ms=10") // else each picloud sleeps a second at its end
			env.Setenv("PICLOUD_SERVER", n.control.URL)
			env.Setenv("PICLOUD_TOKEN", n.token)
			env.Setenv("ADMIN_TOKEN", n.token)
			env.Setenv("PICLOUD_FUNCTIONS_URL", n.functions.URL)
			return n.writeCredentials(env.WorkDir)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":  exits,
			"away":   func(ts *testscript.TestScript, _ bool, args []string) { nodeOf(ts).away(args) },
			"logged": logged,
			"logged-by": func(ts *testscript.TestScript, _ bool, args []string) {
				times := 1
				if len(args) > 3 {
					var err error
					times, err = strconv.Atoi(args[3])
					ts.Check(err)
				}
				for range times {
					nodeOf(ts).logs.addOf(args[0], args[1], args[2])
				}
			},
			"sealed":   sealed,
			"drain":    func(ts *testscript.TestScript, _ bool, _ []string) { nodeOf(ts).logs.end() },
			"called":   func(ts *testscript.TestScript, _ bool, _ []string) { nodeOf(ts).await(ts, nodeOf(ts).slow.Load) },
			"followed": followed,
			"signal":   signal,
		},
	})
}

// writeCredentials leaves the admin's token in the script's folder, in the two
// forms that a file can hold it in.
func (n *node) writeCredentials(dir string) error {
	both := fmt.Sprintf(`{"server":%q,"user":"admin","token":%q}`, n.control.URL, n.token)
	if err := os.WriteFile(filepath.Join(dir, "credentials.json"), []byte(both), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "admin.token"), []byte(n.token+"\n"), 0o600)
}

func nodeOf(ts *testscript.TestScript) *node { return ts.Value("node").(*node) }

func (n *node) away(nodes []string) {
	n.checks.Lock()
	defer n.checks.Unlock()
	n.fleet.missing = nodes
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ARG…")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if want, _ := strconv.Atoi(args[0]); code != want {
		ts.Fatalf("%s: exit code %d, want %d", strings.Join(args[1:], " "), code, want)
	}
}

func logged(ts *testscript.TestScript, _ bool, args []string) {
	message, err := strconv.Unquote(`"` + args[1] + `"`) // so that scripts can write \n and \x1b
	ts.Check(err)
	nodeOf(ts).logs.add(args[0], message)
}

func sealed(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: sealed NAME VALUE")
	}
	want, err := strconv.Unquote(`"` + args[1] + `"`)
	ts.Check(err)
	value, err := nodeOf(ts).secret("default", args[0])
	ts.Check(err)
	if value != want {
		ts.Fatalf("%s is %q, want %q", args[0], value, want)
	}
}

func followed(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	n := nodeOf(ts)
	n.await(ts, func() bool { return n.logs.followers() == want })
}

// await waits until something has happened on the node.
func (n *node) await(ts *testscript.TestScript, happened func() bool) {
	deadline := time.After(20 * time.Second)
	for !happened() {
		select {
		case <-deadline:
			ts.Fatalf("it did not happen within 20 s")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// signal interrupts every background command, as Ctrl-C does.
func signal(ts *testscript.TestScript, _ bool, _ []string) {
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(os.Interrupt))
	}
}
