// Package setup_test tries the scripts of `make setup` out, with an apt-get that installs
// nothing and the files of the machine elsewhere.
package setup_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// machine is what a script sees of a machine.
type machine struct {
	t                *testing.T
	root, bin        string
	policy, conf     string
	started, release string // the fake apt-get installs, and goes on
}

func newMachine(t *testing.T) *machine {
	dir := t.TempDir()
	m := &machine{
		t: t, root: filepath.Join(dir, "root"), bin: filepath.Join(dir, "bin"),
		started: filepath.Join(dir, "started"), release: filepath.Join(dir, "release"),
	}
	m.policy, m.conf = filepath.Join(m.root, "usr/sbin/policy-rc.d"), filepath.Join(m.root, "etc/postgresql-common/createcluster.conf")
	m.write(filepath.Join(m.bin, "sudo"), "#!/bin/sh\nshift\nexec \"$@\"\n")
	m.write(filepath.Join(m.bin, "systemctl"), "#!/bin/sh\n")
	m.write(filepath.Join(m.bin, "apt-get"), "#!/bin/sh\ncase $1 in install) cp "+m.policy+" "+m.started+"; read line <"+m.release+";; esac\n")
	require.NoError(t, exec.CommandContext(t.Context(), "mkfifo", m.release).Run())
	return m
}

func (m *machine) write(path, text string) {
	m.t.Helper()
	require.NoError(m.t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(m.t, os.WriteFile(path, []byte(text), 0o700))
}

// setup starts the script; what names a command that the machine lacks, with its package.
func (m *machine) setup(what ...string) *exec.Cmd {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), 30*time.Second)
	m.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "./install.sh", what...)
	cmd.Env = append(os.Environ(), "PATH="+m.bin+":"+os.Getenv("PATH"), "PICLOUD_SETUP_ROOT="+m.root, "PICLOUD_DATABASE_URL=x")
	cmd.Stderr = os.Stderr
	require.NoError(m.t, cmd.Start())
	return cmd
}

// installs waits until apt-get installs.
func (m *machine) installs() {
	m.t.Helper()
	require.Eventually(m.t, func() bool { _, err := os.Stat(m.started); return err == nil }, 20*time.Second, 5*time.Millisecond)
}

// goOn lets the fake apt-get end.
func (m *machine) goOn() {
	m.t.Helper()
	fifo, err := os.OpenFile(m.release, os.O_WRONLY, 0)
	require.NoError(m.t, err)
	_, err = fifo.WriteString("\n")
	require.NoError(m.t, err)
	require.NoError(m.t, fifo.Close())
}

func TestASetupThatWasKilledIsHealed(t *testing.T) {
	m := newMachine(t)
	cmd := m.setup("no-such-command=postgresql")
	m.installs()
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	m.goOn() // the fake apt-get outlives it
	require.FileExists(t, m.policy)
	require.FileExists(t, m.conf)
	m.write(m.conf+".ucf-dist", "the package's own")

	require.NoError(t, m.setup().Wait(), "nothing is missing now")
	require.NoFileExists(t, m.policy)
	text, err := os.ReadFile(m.conf)
	require.NoError(t, err)
	require.Equal(t, "the package's own", string(text))
}

func TestASetupLeavesNothing(t *testing.T) {
	m := newMachine(t)
	cmd := m.setup("no-such-command=postgresql")
	m.installs()
	other := m.setup() // another one at the same time
	require.NoError(t, other.Wait())
	require.FileExists(t, m.policy, "the first one still runs")
	m.goOn()
	require.NoError(t, cmd.Wait())
	require.NoFileExists(t, m.policy)
	require.NoFileExists(t, m.conf)
}

func TestSomebodyElsesPolicyStays(t *testing.T) {
	const theirs = "#!/bin/sh\nexit 101\n"
	m := newMachine(t)
	m.write(m.policy, theirs)
	cmd := m.setup("no-such-command=postgresql")
	m.installs()
	m.write(m.conf, "changed meanwhile")
	m.goOn()
	require.NoError(t, cmd.Wait())
	for path, want := range map[string]string{m.policy: theirs, m.conf: "changed meanwhile"} {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, want, string(text))
	}
}
