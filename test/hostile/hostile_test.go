//go:build linux && (amd64 || arm64)

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// The variables by which a run as a normal user finds what root built for it.
const (
	envHostile = "PICLOUD_TEST_HOSTILE"
	envHonest  = "PICLOUD_TEST_HONEST"
)

// somebody is the normal user that the suite becomes when root runs it.
const somebody = 64_999

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// binaries are the worker that attacks, and the real one.
func binaries(t *testing.T) (hostile, honest string) {
	if path := os.Getenv(envHostile); path != "" {
		return path, os.Getenv(envHonest)
	}
	dir, err := os.MkdirTemp("", "picloud-hostile-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755)) // workers have other uids
	// Both at once, and not where internal/testworker puts the real one, which
	// another run of tests may replace meanwhile.
	build := exec.Command("go", "build", "-o", dir+"/", ".", "github.com/picloud/picloud/cmd/picloud-executor")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return filepath.Join(dir, "hostile"), filepath.Join(dir, "picloud-executor")
}

// TestHostileWorker makes every attempt of the hostile worker: outside the
// sandbox, where it must work, and inside, where it must fail as expected. As
// root it does all of that a second time as a normal user.
func TestHostileWorker(t *testing.T) {
	hostile, honest := binaries(t)
	who, own := "user", []int(nil)
	if os.Geteuid() == 0 {
		who = "root"
		pid, result := again(t, hostile, honest)
		own = append(own, pid)
		defer t.Run("again as a normal user", result)
	}
	s := newScene(t, hostile, own)
	t.Run(who+" outside", s.outside)
	for _, p := range plans {
		if !p.rootOnly || who == "root" {
			t.Run(who+" "+p.name, func(t *testing.T) { s.inside(t, p, honest) })
		}
	}
	s.check(t)
}

// again starts this test as a normal user, beside the rest, and returns what
// waits for its end.
func again(t *testing.T, hostile, honest string) (pid int, result func(*testing.T)) {
	dir, err := os.MkdirTemp("", "picloud-hostile-user-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chown(dir, somebody, somebody))
	// The program's folder may be closed to others, but the link to it is not.
	cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run=^TestHostileWorker$", "-test.timeout=2m")
	cmd.Dir = dir
	cmd.Env = []string{"TMPDIR=" + dir, "HOME=" + dir, envHostile + "=" + hostile, envHonest + "=" + honest}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: somebody, Gid: somebody}}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { // should nobody wait for the result
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd.Process.Pid, func(t *testing.T) {
		err := cmd.Wait()
		t.Logf("%s", out.Bytes())
		require.NoError(t, err)
		require.Contains(t, out.String(), "--- PASS: TestHostileWorker/user")
	}
}

// outside makes each attempt in plain processes.
func (s *scene) outside(t *testing.T) {
	var together []string
	got := map[string]string{}
	for _, a := range attempts {
		if !a.once {
			together = append(together, a.name)
			continue
		}
		s.plainly(t, got, a.name)
	}
	s.plainly(t, got, together...)
	for _, a := range attempts {
		answer := got[a.name]
		capability, needed := needs[a.name]
		switch {
		case answer == done:
		case answer != "" && slices.Contains(strings.Fields(lacking[a.name]), answer):
			t.Logf("%s cannot be seen to work outside: this kernel answers %s", a.name, answer)
		case needed && s.capabilities&(1<<capability) == 0:
			t.Logf("%s needs a capability that this process has not: %s", a.name, answer)
		case s.confined && (answer == "EPERM" || answer == "ENOSYS"):
			t.Logf("%s may be refused by the filter of this container: %s", a.name, answer)
		default:
			t.Errorf("%s outside the sandbox: got %q, want that it works", a.name, answer)
		}
	}
}

// plainly makes attempts in one process, with the descriptors that a worker has
// and a folder, and notes how they ended.
func (s *scene) plainly(t *testing.T, got map[string]string, names ...string) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	ours, theirs := os.NewFile(uintptr(pair[0]), "agent"), os.NewFile(uintptr(pair[1]), "worker")
	defer ours.Close()
	defer theirs.Close()
	cmd := exec.Command(s.hostile, "-probe", strings.Join(names, ","), s.query())
	cmd.Dir = "/"
	cmd.Env = []string{"GOMAXPROCS=2", "GODEBUG=containermaxprocs=0,updatemaxprocs=0"}
	cmd.ExtraFiles = []*os.File{theirs, s.image, s.root}
	var out, words strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &words
	err = cmd.Run()
	for line := range strings.Lines(out.String()) {
		// A program that floods its output answers behind the flood.
		name, answer, _ := strings.Cut(strings.Trim(line, "\x00\n"), ": ")
		if answer == "" && len(names) == 1 { // this program, executed again
			name, answer = names[0], name
		}
		got[name] = answer
	}
	if err != nil {
		t.Logf("%v: %v %s", names, err, strings.Trim(words.String(), "\x00"))
	}
	for _, pid := range children(t, s.own...) { // one that an attempt made a child of this process
		_, _ = syscall.Wait4(pid, nil, 0, nil)
	}
}
