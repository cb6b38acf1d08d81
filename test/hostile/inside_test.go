//go:build linux && (amd64 || arm64)

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/executor"
	"github.com/picloud/picloud/executor/sandbox"
)

// plan is a sandbox with some of its layers forced off.
type plan struct {
	name     string
	without  []string
	rootOnly bool // the same as another plan for a normal user
	weak     bool // strict would start no worker in it
}

var plans = []plan{
	{name: "all layers"},
	{name: "no landlock", without: []string{sandbox.Landlock}},
	{name: "no user namespace", without: []string{sandbox.UserNamespace}, rootOnly: true},
	{name: "no namespaces", without: append(sandbox.Namespaces(), sandbox.EmptyRoot)},
	{name: "no seccomp", without: []string{sandbox.Seccomp}, weak: true},
}

func (p plan) apply(o *options) {
	o.Without = p.without
	if p.weak {
		o.Sandbox = executor.SandboxBestEffort
	}
}

// inside makes each attempt in workers that the production supervisor started,
// while another app is called, and sees all of them fail.
func (s *scene) inside(t *testing.T, p plan, honest string) {
	descriptors := openDescriptors(t)
	visitors := s.visitors.Load()
	good := newNeighbour(t, honest)
	bad := newNode(t, func(o *options) { o.WorkerPath = s.hostile; p.apply(o) })
	t.Logf("workers are started as %q, without %v", bad.Sandbox().Plan, bad.off())
	if !p.weak {
		require.Empty(t, bad.Sandbox().Lacks())
		require.Empty(t, bad.sweep(t), "system calls that the kernel answers")
	}
	for _, pid := range children(t, s.own...) {
		holdsLittle(t, pid)
	}
	for _, a := range attempts {
		good.mustAnswer(t)
		alone := a.once && (p.weak || refusal(a.name) != refused) // what is refused leaves nothing behind
		got := bad.try(t, a, s.query(), alone)
		good.mustAnswer(t)
		bad.judge(t, p, a.name, got)
	}
	require.Equal(t, visitors, s.visitors.Load(), "somebody reached a listener")
	good.stop(t)
	bad.stop(t)
	require.Empty(t, children(t, s.own...))
	require.LessOrEqual(t, openDescriptors(t), descriptors, "descriptors of the agent")
}

// judge says what is wrong with the answer to an attempt.
func (n *node) judge(t *testing.T, p plan, name, got string) {
	without := n.off()
	switch {
	case got == done && known[name] != "":
		t.Logf("%s gets through: %s", name, known[name])
	case p.weak && got == done && !slices.Contains(onlySeccomp, name):
		t.Errorf("%s worked: nothing but seccomp stops it", name)
	case p.weak, got == refusal(name):
	case name == "thread-many" && got == refusal("memory-heap"): // threads take memory, too
	case got == done && slices.Contains(byUser, name) && slices.Contains(without, sandbox.UserNamespace) && slices.Contains(without, sandbox.OwnUID):
		t.Logf("%s is bounded only by what the user of the agent may have", name)
	default:
		t.Errorf("%s in the sandbox: got %q, want %q", name, got, refusal(name))
	}
}

// off names the layers that are not on.
func (n *node) off() (names []string) {
	for _, l := range n.Sandbox().Layers {
		if !l.On {
			names = append(names, l.Name)
		}
	}
	return names
}

// sweep has a worker make every system call, and returns those that are answered
// and should not be.
func (n *node) sweep(t *testing.T) (wrong []int) {
	answer, err := ask(n.function("sweep", time.Second), "/sweep", "")
	if err != nil {
		t.Fatal(err, n.ended(t, "sweep", ""))
	}
	require.NotEmpty(t, answer)
	for text := range strings.FieldsSeq(answer) {
		number, err := strconv.Atoi(text)
		require.NoError(t, err)
		if !slices.Contains(answered, number) {
			wrong = append(wrong, number)
		}
	}
	return wrong
}

// holdsLittle looks at the descriptors of a worker: nothing of the agent's may be
// among them.
func holdsLittle(t *testing.T, pid int) {
	dir := fmt.Sprintf("/proc/%d/fd/", pid)
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
		return // a normal user may not look; and a worker may end
	}
	require.NoError(t, err)
	var held []string
	for _, fd := range list {
		to, err := os.Readlink(dir + fd.Name())
		require.NoError(t, err)
		to = regexp.MustCompile(`:\[\d+\]`).ReplaceAllString(to, "") // "socket:[4711]"
		if strings.HasPrefix(to, "anon_inode:") {
			require.Contains(t, []string{"anon_inode:[eventpoll]", "anon_inode:[eventfd]"}, to, "beside the runtime's poller")
			continue
		}
		held = append(held, fd.Name()+" "+to)
	}
	require.Subset(t, []string{"0 /dev/null", "1 /dev/null", "2 pipe", "3 socket"}, held)
}
