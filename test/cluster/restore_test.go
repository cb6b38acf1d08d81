package cluster

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// says runs a command that must succeed, with an input.
func (n *node) says(input string, args ...string) string {
	n.t.Helper()
	stdout, stderr, code := n.typed(input, args...)
	require.Zero(n.t, code, "%v: %s%s", args, stdout, stderr)
	return stdout + stderr
}

// TestTheDatabasesBoardDies is the way back that docs/operate.md describes: a dump is kept on
// other nodes, the board of the database dies, another node brings the database up, all follow,
// and the dead board comes back.
func TestTheDatabasesBoardDies(t *testing.T) {
	t.Parallel()
	l := begin(t, 3)
	one, two, three := l.nodes[0], l.nodes[1], l.nodes[2]
	l.awaitHeard(3, healing)

	one.deployCode("count", `function handle(req) { return {n: kv.incr("n", 1), secret: secrets.get("TOKEN")} }`)
	two.says("s3cret\n", "secret", "set", "TOKEN")
	var bob struct{ Token string }
	require.NoError(t, json.NewDecoder(strings.NewReader(two.says("", "user", "add", "bob", "-o", "json"))).Decode(&bob)) // what follows is for people
	require.NotEmpty(t, bob.Token)
	three.await("the secret", healing, func() bool { _, body := three.call("count"); return strings.Contains(body, "s3cret") })
	one.deploy("steady", "ok")

	said := two.says("", "database", "dump")
	require.Contains(t, said, "is kept on another node")
	said = three.says("", "database", "status")
	t.Logf("with the database:\n%s", said)
	require.Contains(t, said, "on pi-1, answers since")
	require.Contains(t, said, "pi-2: ")
	require.Contains(t, said, "pi-3: ")
	require.Contains(t, said, "If pi-1 died now: what was written since")
	invitation := one.invite("--ttl", "24h")
	one.deploy("late", "made after the dump")
	require.Contains(t, three.says("", "database", "status"), "what was changed since")
	_, stderr, code := two.cli("database", "restore", "--from", "pi-3", "--yes")
	require.NotZero(t, code)
	require.Contains(t, stderr, "the database on pi-1 answers")

	t.Log("the database's board dies")
	calls := underLoad("steady", three)
	one.power()
	status, answer := three.put("f", returning("no"))
	require.Equal(t, http.StatusServiceUnavailable, status, answer)
	said = two.says("", "database", "status")
	t.Logf("without it:\n%s", said)
	require.Contains(t, said, "on pi-1, does not answer")
	require.Contains(t, said, "If pi-1 does not come back: what was changed since")
	require.Contains(t, said, "picloud database restore --from pi-")

	begun := time.Now()
	said = two.says("", "database", "restore", "--from", "pi-3", "--yes")
	t.Logf("the restore:\n%s", said)
	<-two.exited // the command has stopped it
	two.cmd = nil
	stopped := time.Since(begun)
	two.start()
	took := two.await("a deploy on both nodes", time.Minute, func() bool {
		status, answer = three.put("f", returning("after the restore"))
		return (status == http.StatusOK || status == http.StatusCreated) && strings.Contains(answer, `"complete":true`)
	})
	t.Logf("the restore took %s with all questions, and changes worked %s later: %s", stopped, took, time.Since(begun))
	calls.requireAll(three)
	for _, n := range []*node{two, three} {
		n.await("what the restored database has", healing, func() bool {
			_, f := n.call("f")
			late, _ := n.call("late")
			return f == "after the restore" && late == http.StatusNotFound
		})
		n.await("keys and secrets", healing, func() bool {
			status, body := n.call("count")
			return status == http.StatusOK && strings.Contains(body, "s3cret")
		})
	}
	said = three.says("", "database", "status")
	require.Contains(t, said, "on pi-2, answers since")
	three.token = bob.Token
	require.Contains(t, three.says("", "whoami"), "bob")
	three.token = two.token
	list := three.says("", "node", "ls")
	require.NotContains(t, list, "pi-1")

	t.Log("the dead board comes back")
	before := folder(t, filepath.Join(one.data, "postgres"))
	one.launch()
	one.await("its functions", 10*time.Second, func() bool { status, _ := one.call("steady"); return status == http.StatusOK })
	one.await("a refusal", 30*time.Second, func() bool {
		status, answer = one.put("f", returning("on a database that is none any more"))
		return status == http.StatusForbidden
	})
	require.Contains(t, answer, "PC1406")
	require.Zero(t, one.postgres(), "its database does not run")
	require.Equal(t, before, folder(t, filepath.Join(one.data, "postgres")), "and is as it was")
	three.deploy("f", "without pi-1")
	_, body := two.call("f")
	require.Equal(t, "without pi-1", body)
	one.stop()

	t.Log("and joins as a new node; the invitation of before the death is void")
	one.says("", "node", "reset", "--yes")
	joins := append([]string{"run"}, invitation...)
	joins[2] = net.JoinHostPort(two.address, strconv.Itoa(two.ports.cluster))
	cmd := one.command(joins...)
	out := &safeBuffer{}
	cmd.Stdout, cmd.Stderr = out, out
	require.NoError(t, one.begin(cmd))
	require.Error(t, cmd.Wait())
	require.Contains(t, out.String(), "knows no such invitation")
	one.args = two.invite()
	one.token = two.token
	one.start()
	l.awaitLive(healing)
	one.deploy("f", "all three")
	for _, n := range l.nodes {
		n.awaitAnswer("f", "all three", healing)
	}
}

// folder lists the files of a folder with their sizes and times.
func folder(t *testing.T, dir string) (out []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			out = append(out, path+" "+info.ModTime().String())
		}
		return err
	}))
	return out
}
