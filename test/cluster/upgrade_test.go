package cluster

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// previous is the commit of the version before this one: a cluster of it is upgraded, one
// node after the other. It moves with each release.
const previous = "cca6fd6"

// build compiles the binaries of a source folder, with more flags of the compiler.
func build(t *testing.T, source string, flags ...string) (folder string) {
	t.Helper()
	folder, err := os.MkdirTemp("", "picloud-bin-") // not t.TempDir: executors have other uids
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(folder) })
	require.NoError(t, os.Chmod(folder, 0o755))
	cmd := exec.Command("go", append(append([]string{"build"}, flags...), "-o", folder+"/", "./cmd/...")...)
	cmd.Dir, cmd.Env = source, append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return folder
}

// checkOut puts the sources of a commit into a folder.
func checkOut(t *testing.T, commit string) string {
	t.Helper()
	dir := t.TempDir()
	archive := filepath.Join(dir, "source.tar")
	out, err := exec.Command("git", "-C", "../..", "archive", "-o", archive, commit).CombinedOutput()
	require.NoError(t, err, "%s: this test needs a clone with its history: git fetch --unshallow", out)
	out, err = exec.Command("tar", "-C", dir, "-xf", archive).CombinedOutput()
	require.NoError(t, err, string(out))
	return dir
}

// TestRollingUpgrade upgrades a cluster of the version before this one, node by node, under
// load. While both versions run, each deploys and both serve it, and the manager may be of
// either. The tests of the golden files say the same of each message alone, in short.
func TestRollingUpgrade(t *testing.T) {
	t.Parallel()
	if !long() {
		t.Log("two builds take minutes: PICLOUD_TEST_CLUSTER=long; the tests of internal/previous are the short form")
		return
	}
	old := build(t, checkOut(t, previous), "-ldflags", "-X main.version=v0.0.1-previous")
	l := newLab(t)
	one := l.add()
	one.startAs(exec.Command(old+"/picloud", "run"))
	one.token = one.readToken()
	invitation := one.invite("--uses", "2")
	for range 2 {
		n := l.add(invitation...)
		n.token = one.token
		n.startAs(exec.Command(old+"/picloud", n.run(old)[1:]...))
	}
	l.awaitLive(healing)
	l.awaitHeard(3, healing)
	one.deploy("steady", "ok")
	one.deploy("f", "old")
	one.sql("INSERT INTO app (name) VALUES ('kept')")

	deploys := func(stage string) {
		t.Helper()
		for i, by := range l.nodes {
			text := stage + strconv.Itoa(i)
			by.await("a deploy on all nodes through "+by.name+", "+stage, healing, func() bool {
				status, _ := by.put("f", returning(text))
				return status == http.StatusOK || status == http.StatusCreated
			})
			for _, n := range l.nodes {
				_, body := n.call("f")
				require.Equal(t, text, body, "%s, deployed through %s, %s", n.name, by.name, stage)
			}
		}
	}
	deploys("all old")
	// The first to be upgraded migrates the schema, whatever node has the database.
	for i, next := range []*node{l.nodes[1], l.nodes[0], l.nodes[2]} {
		calls := underLoad("steady", l.but(next)...)
		next.stop()
		next.start()
		l.awaitLive(time.Minute)
		calls.requireAll(next)
		l.awaitHeard(3, healing)
		deploys(strconv.Itoa(i+1) + " of 3 upgraded")
		pause(30 * time.Second) // both versions, side by side
		l.awaitLive(healing)
		list, _, _ := next.cli("node", "ls")
		t.Logf("%d of 3 upgraded:\n%s", i+1, list)
	}
	require.Equal(t, "1", one.sql("SELECT count(*) FROM app WHERE name = 'kept'"))

	t.Log("back to the version before, as long as no migration asks for more")
	if one.sql("SELECT max(min_binary) FROM migration") <= "5" {
		back := l.nodes[2]
		back.stop()
		back.startAs(exec.Command(old+"/picloud", back.run(old)[1:]...))
		l.awaitLive(time.Minute)
		deploys("one went back")
	}
}

// TestTooOld: the database was changed by a version that this one is too old for. A node
// that restarts and one that joins say so and name that version; functions are served from the disk copy.
func TestTooOld(t *testing.T) {
	t.Parallel()
	l := newFlatLab(t)
	one := l.add().found()
	two := l.add(one.invite()...)
	two.token = one.token
	two.start()
	l.awaitLive(healing)
	one.deploy("steady", "ok")
	three := l.add(one.invite()...)
	one.sql("INSERT INTO migration (number, name, min_binary, by) VALUES (1000, '1000_later.sql', 1000, 'v9.1.0')")
	two.stop()
	two.launch()
	two.await("an answer", healing, func() bool { status, body := two.call("steady"); return status == http.StatusOK && body == "ok" })
	two.await("what is wrong", healing, func() bool { return strings.Contains(two.output.String(), "newer PiCloud") })
	require.Contains(t, two.output.String(), "v9.1.0")
	three.launch()
	three.await("what is wrong", healing, func() bool { return strings.Contains(three.output.String(), "newer PiCloud") })
	require.Contains(t, three.output.String(), "v9.1.0")
	_, body := two.call("steady")
	require.Equal(t, "ok", body)
}
