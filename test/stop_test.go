package test

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// left lists the processes that belong to the node: PostgreSQL of its data folder, and
// executors.
func (n *node) left() (found []string) {
	n.t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(n.t, err)
	for _, path := range lines {
		line, err := os.ReadFile(path)
		if err != nil || len(line) == 0 {
			continue // it ended meanwhile, or is a zombie
		}
		exe, _ := os.Readlink(filepath.Join(filepath.Dir(path), "exe"))
		if bytes.Contains(line, []byte(n.data+"/postgres")) || exe == filepath.Join(n.binaries, "picloud-executor") {
			found = append(found, filepath.Base(filepath.Dir(path))+" "+string(bytes.ReplaceAll(line, []byte{0}, []byte(" "))))
		}
	}
	return found
}

// pause waits for a moment of a process's life that has no event to wait for.
func pause(d time.Duration) { <-time.After(d) }

// terminate sends SIGTERM, and requires that nothing of the node is left.
func (n *node) terminate(when string) {
	n.t.Helper()
	n.stop()
	deadline := time.Now().Add(5 * time.Second)
	for pids := n.left(); len(pids) > 0; pids = n.left() {
		if time.Now().After(deadline) {
			n.t.Fatalf("stopped %s, the node leaves %v; it said: %s", when, pids, n.output)
		}
		pause(5 * time.Millisecond)
	}
}

// TestAStopAtAnyMomentEndsWhatWasStarted stops a node while its database starts, is
// adopted or migrates: nothing of it is left, and the folder starts again.
func TestAStopAtAnyMomentEndsWhatWasStarted(t *testing.T) {
	n := newNode(t)
	for _, after := range []int{50, 150, 400, 900, 1500} { // initdb, and the first migrations
		n.launch()
		pause(time.Duration(after) * time.Millisecond)
		n.terminate("in its first start")
	}
	n.start().deploy("hello", hello)
	n.terminate("at work")

	for after := time.Duration(0); after <= 300*time.Millisecond; after += 20 * time.Millisecond {
		n.launch()
		pause(after)
		n.terminate(after.String() + " after its start")
	}
	for after := time.Duration(0); after <= 200*time.Millisecond; after += 20 * time.Millisecond {
		n.start()
		pause(after)
		n.terminate(after.String() + " after it was ready")
	}
	// PostgreSQL of a node that was killed is there to be adopted, or still starts.
	for _, alive := range []int{20, 60, 100, 150} {
		n.launch()
		pause(time.Duration(alive) * time.Millisecond)
		require.NoError(t, n.cmd.Process.Kill())
		<-n.exited
		n.launch()
		pause(time.Duration(alive) * time.Millisecond)
		n.stop() // perhaps before it looked at its data folder
		n.start()
		n.terminate("when it was ready, after two nodes that were not")
	}
	for _, after := range []int{0, 10, 30, 60} {
		n.start()
		n.awaitDatabase()
		require.NoError(t, n.cmd.Process.Kill())
		<-n.exited
		n.start()
		pause(time.Duration(after) * time.Millisecond)
		n.terminate("when it was ready, with a database to adopt")
	}
	n.start()
	n.awaitDatabase()
	status, body := n.call("hello")
	require.Equal(t, http.StatusOK, status, body)
}
