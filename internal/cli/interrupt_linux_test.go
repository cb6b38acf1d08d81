package cli_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// terminal is a pseudo-terminal that a command runs on, with a person at the other end.
type terminal struct {
	t      *testing.T
	master *os.File
	slave  *os.File
	read   sync.WaitGroup
	mu     sync.Mutex
	screen bytes.Buffer
}

func openTerminal(t *testing.T) *terminal {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	require.NoError(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	term := &terminal{t: t, master: master, slave: slave}
	term.read.Go(func() {
		buf := make([]byte, 1024)
		for {
			n, err := master.Read(buf)
			term.mu.Lock()
			term.screen.Write(buf[:n])
			term.mu.Unlock()
			if err != nil {
				return // the last of the slave was closed
			}
		}
	})
	t.Cleanup(func() {
		slave.Close()
		term.read.Wait()
		master.Close()
	})
	return term
}

// shown is what stands on the screen.
func (p *terminal) shown() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.screen.String()
}

func (p *terminal) await(text string) {
	p.t.Helper()
	require.Eventually(p.t, func() bool { return strings.Contains(p.shown(), text) }, 20*time.Second, 2*time.Millisecond, text)
}

func (p *terminal) press(keys string) {
	_, err := p.master.WriteString(keys)
	require.NoError(p.t, err)
}

func (p *terminal) state() unix.Termios {
	state, err := unix.IoctlGetTermios(int(p.slave.Fd()), unix.TCGETS)
	require.NoError(p.t, err)
	return *state
}

// unread is how much of what was typed the command has not read yet.
func (p *terminal) unread() int {
	n, err := unix.IoctlGetInt(int(p.slave.Fd()), unix.TIOCINQ)
	require.NoError(p.t, err)
	return n
}

// start runs picloud with the terminal as its controlling one, as a shell does.
func (p *terminal) start(n *node, home string, args ...string) *exec.Cmd {
	self, err := os.Executable()
	require.NoError(p.t, err)
	link := filepath.Join(p.t.TempDir(), "picloud")
	require.NoError(p.t, os.Symlink(self, link))
	cmd := exec.Command(link, args...)
	cmd.Dir = home
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=10", "HOME="+home, "PICLOUD_SERVER="+n.control.URL, "PICLOUD_FUNCTIONS_URL="+n.functions.URL)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = p.slave, p.slave, p.slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	require.NoError(p.t, cmd.Start())
	return cmd
}

// TestCtrlCEndsAQuestionAtOnce: the command ends without a further key, nothing is
// changed, and the terminal is as it was.
func TestCtrlCEndsAQuestionAtOnce(t *testing.T) {
	n := newNode(t)
	for name, tt := range map[string]struct {
		args     []string
		question string
		typed    string
		signedIn bool
	}{
		"a removal":              {[]string{"rm", "hello"}, "Delete function hello for good? [y/N] ", "", true},
		"half an answer":         {[]string{"rm", "hello"}, "[y/N] ", "ye", true},
		"a secret":               {[]string{"secret", "set", "TOKEN"}, "Value of TOKEN: ", "hunter2", true},
		"a login":                {[]string{"login"}, "API token for ", "pct_", false},
		"a script that is typed": {[]string{"deploy", "-", "--name", "typed"}, "", "function", true},
		"a key":                  {[]string{"kv", "set", "a", "-"}, "", "1", true},
		"a token that is typed":  {[]string{"login", "--token", "-"}, "", "pct_", false},
	} {
		t.Run(name, func(t *testing.T) {
			home, term := t.TempDir(), openTerminal(t)
			before := term.state()
			if tt.signedIn {
				require.NoError(t, n.writeCredentials(home))
				tt.args = append(tt.args, "--token-file", "admin.token")
			}
			cmd := term.start(n, home, tt.args...)
			if tt.question != "" {
				term.await(tt.question)
			}
			if strings.Contains(name, "secret") || name == "a login" {
				require.Eventually(t, func() bool { return term.state().Lflag&unix.ECHO == 0 }, 20*time.Second, time.Millisecond)
			} else if tt.typed != "" {
				term.press(tt.typed)
				term.await(tt.typed)
			}
			if tt.question == "" { // nothing but its first read shows that the command waits
				term.press("\n")
				require.Eventually(t, func() bool { return strings.Contains(term.shown(), tt.typed+"\r\n") && term.unread() == 0 }, 20*time.Second, time.Millisecond)
			}
			term.press("\x03")

			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			select {
			case <-ended:
			case <-time.After(20 * time.Second):
				_ = cmd.Process.Kill()
				t.Fatalf("it goes on; the screen shows %q", term.shown())
			}
			require.Equal(t, 130, cmd.ProcessState.ExitCode(), term.shown())
			term.await(": interrupted\r\n")
			require.Equal(t, before, term.state(), "the terminal is as it was")
		})
	}
}
