//go:build linux && (amd64 || arm64)

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// scene is what the attempts aim at: listeners, files, and a process of somebody
// else.
type scene struct {
	hostile      string
	image        *os.File
	root         *os.File
	values       url.Values
	capabilities uint64 // of this process, on all of the machine
	confined     bool   // a filter of system calls is on this process already
	victim       *exec.Cmd
	leash        io.Closer
	last         *bufio.Reader
	visitors     atomic.Int64 // who reached a listener
	own          []int        // processes that the suite itself started, and that stay
}

func newScene(t *testing.T, hostile string, own []int) *scene {
	s := &scene{hostile: hostile, capabilities: capabilities(t), confined: confined(t), values: url.Values{}, own: own}
	dir, err := os.MkdirTemp("", "scene-") // short: a socket lies in it
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o777))
	s.values.Set("dir", dir)
	s.values.Set("agent", strconv.Itoa(os.Getpid()))
	s.image, err = os.Open(hostile)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.image.Close() })
	s.root, err = os.Open("/")
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.root.Close() })

	s.listen(t, "tcp4", "tcp4", "127.0.0.1:0")
	s.listen(t, "tcp6", "tcp6", "[::1]:0")
	s.listen(t, "unix", "unix", filepath.Join(dir, "agent.sock"))
	require.NoError(t, os.Chmod(filepath.Join(dir, "agent.sock"), 0o777))
	s.listen(t, "abstract", "unix", "@picloud-hostile-"+strconv.Itoa(os.Getpid()))
	s.listenPackets(t)
	s.startVictim(t)
	return s
}

// query is the scene as the attempts get it.
func (s *scene) query() string { return s.values.Encode() }

func (s *scene) listen(t *testing.T, key, kind, address string) {
	l, err := net.Listen(kind, address)
	require.NoError(t, err)
	s.values.Set(key, strings.TrimPrefix(l.Addr().String(), "@"))
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		s.values.Set(key, strconv.Itoa(a.Port))
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.visitors.Add(1)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-ended })
}

func (s *scene) listenPackets(t *testing.T) {
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	s.values.Set("udp4", strconv.Itoa(c.LocalAddr().(*net.UDPAddr).Port))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for b := make([]byte, 16); ; s.visitors.Add(1) {
			if _, _, err := c.ReadFrom(b); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { _ = c.Close(); <-ended })
}

func (s *scene) startVictim(t *testing.T) {
	s.victim = exec.Command(s.hostile, "-victim")
	s.victim.Env = []string{"SECRET=" + secret}
	s.victim.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := s.victim.StdinPipe()
	require.NoError(t, err)
	out, err := s.victim.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, s.victim.Start())
	s.leash, s.last = in, bufio.NewReader(out)
	address, err := s.last.ReadString('\n')
	require.NoError(t, err)
	s.own = append(s.own, s.victim.Process.Pid)
	s.values.Set("victim", strconv.Itoa(s.victim.Process.Pid))
	s.values.Set("secret", strings.TrimSpace(address))
	t.Cleanup(func() { // should the test not come to check
		_ = s.victim.Process.Kill()
		_ = s.victim.Wait()
	})
}

// check looks at what the attempts aimed at: the victim lives, whole.
func (s *scene) check(t *testing.T) {
	require.NoError(t, s.leash.Close())
	text, err := s.last.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, secret, strings.TrimSpace(text))
	require.NoError(t, s.victim.Wait())
}

// capabilities are those of this process, none when it is root in a user
// namespace only.
func capabilities(t *testing.T) (set uint64) {
	ids, err := os.ReadFile("/proc/self/uid_map")
	if err == nil && !slices.Equal(strings.Fields(string(ids)), []string{"0", "0", "4294967295"}) {
		return 0
	}
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(status), "CapEff:")
	_, err = fmt.Sscanf(rest, "%x", &set)
	require.NoError(t, err)
	return set
}

func confined(t *testing.T) bool {
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	return !strings.Contains(string(status), "\nSeccomp:\t0\n")
}
