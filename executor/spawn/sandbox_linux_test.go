package spawn_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor"
	"github.com/picloud/picloud/executor/sandbox"
	"github.com/picloud/picloud/executor/spawn"
	"github.com/picloud/picloud/internal/hook"
	"github.com/picloud/picloud/internal/testworker"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == agentArg {
		actAsAgent(os.Args[2])
		return
	}
	goleak.VerifyTestMain(m)
}

// patience bounds the run of an agent.
const patience = 20 * time.Second

// agentArg makes the test binary an agent that runs one worker and reports what the
// kernel says of it. The agent runs as another user than the test, because a process
// cannot become that user and change back.
const agentArg = "act-as-agent"

// order is what such an agent is asked.
type order struct {
	Worker  string
	Mode    string
	Without []string
	Starve  string // "first": user namespaces are used up; "later": once the agent runs
}

// report is what it saw.
type report struct {
	Sandbox    spawn.Sandbox
	Error      string // of the call; empty: it answered
	Code       picloud.Code
	Logs       string
	Threads    []map[string]string
	Namespaces map[string]bool // by layer: the worker's is another than ours
	Root       []string
	Mounts     int
	FDs        []string
}

// actAsAgent runs an order and writes what it saw to stdout.
func actAsAgent(text string) {
	var asked order
	view, err := report{}, json.Unmarshal([]byte(text), &asked)
	if err == nil {
		view, err = runAgent(asked)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_ = json.NewEncoder(os.Stdout).Encode(view) // the test misses what is not written
}

func runAgent(asked order) (report, error) {
	var logs bytes.Buffer
	view := report{Namespaces: map[string]bool{}}
	e, err := executor.NewHooked(executor.Options{
		WorkerPath: asked.Worker, Sandbox: asked.Mode, MemoryCap: 1 << 30,
		Logger: slog.New(slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}, hook.Executor{Spawn: hook.Spawn{Without: asked.Without}})
	if err != nil {
		return view, err
	}
	if asked.Starve == "first" {
		if err := starve(); err != nil {
			return view, err
		}
	}
	if err := e.Start(context.Background()); err != nil {
		return view, err
	}
	defer e.Stop()
	if asked.Starve == "later" {
		if err := starve(); err != nil {
			return view, err
		}
	}
	source := []byte(`function handle(req) { return "x" }`)
	f := e.Function(executor.Program{App: "shop", Function: "f", Source: source, Digest: picloud.DigestOf(source), Limits: picloud.DefaultLimits()})
	r, err := f.Invoke(context.Background(), &executor.Call{Path: "/"})
	view.Sandbox, view.Logs = e.Sandbox(), logs.String()
	if err != nil {
		view.Error, view.Code = err.Error(), picloud.CodeOf(err)
		return view, nil
	}
	r.Release()
	dir, err := child()
	if err != nil {
		return view, err
	}
	if view.Threads, err = spawn.Statuses(dir); err != nil {
		return view, err
	}
	for _, name := range sandbox.Namespaces() {
		theirs, err := os.Readlink(filepath.Join(dir, "ns", spawn.NamespaceFile(name)))
		if err != nil {
			return view, err
		}
		ours, err := os.Readlink(filepath.Join("/proc/self/ns", spawn.NamespaceFile(name)))
		if err != nil {
			return view, err
		}
		view.Namespaces[name] = theirs != ours
	}
	root, err := os.ReadDir(filepath.Join(dir, "root"))
	if err != nil {
		return view, err
	}
	for _, entry := range root {
		view.Root = append(view.Root, entry.Name())
	}
	mounts, err := os.ReadFile(filepath.Join(dir, "mountinfo"))
	if err != nil {
		return view, err
	}
	view.Mounts = bytes.Count(mounts, []byte("\n"))
	fds, err := os.ReadDir(filepath.Join(dir, "fd"))
	if err != nil {
		return view, err
	}
	for _, fd := range fds {
		target, err := os.Readlink(filepath.Join(dir, "fd", fd.Name()))
		if err != nil {
			return view, err
		}
		view.FDs = append(view.FDs, fd.Name()+" "+target)
	}
	return view, nil
}

// starve forbids further user namespaces below the process's own.
func starve() error { return os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0) }

// child returns the folder in /proc of the only process that this one started.
func child() (dir string, err error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return "", err
	}
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // that process ended
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == strconv.Itoa(os.Getpid()) {
			if dir != "" {
				return "", fmt.Errorf("%s and %s are both children", dir, filepath.Dir(path))
			}
			dir = filepath.Dir(path)
		}
	}
	if dir == "" {
		return "", errors.New("no worker lives")
	}
	return dir, nil
}

// user is who an agent of a test is.
type user struct {
	uid    int // 0: as the test
	groups []uint32
	caps   []uintptr // ambient, as systemd gives them
	inside bool      // it is root of a user namespace that has no other uid, as in some containers
}

// observe runs an agent as a user and returns what it saw.
func observe(t *testing.T, as user, asked order) report {
	asked.Worker = testworker.Path(t)
	text, err := json.Marshal(asked)
	require.NoError(t, err)
	binary, err := os.Open("/proc/self/exe")
	require.NoError(t, err)
	defer binary.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/fd/3", agentArg, string(text)) // go test keeps its binary where others cannot reach it
	cmd.ExtraFiles = []*os.File{binary}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{AmbientCaps: as.caps}
	if as.inside {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: as.uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = cmd.SysProcAttr.UidMappings
		cmd.SysProcAttr.Credential = &syscall.Credential{}
	} else if as.uid != 0 || as.groups != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(as.uid), Gid: uint32(as.uid), Groups: as.groups}
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Run(), "%s", &stderr)
	var view report
	require.NoError(t, json.NewDecoder(io.LimitReader(&stdout, 1<<20)).Decode(&view))
	return view
}

// requireTrue compares a report with what the kernel says of a live worker.
func (v report) requireTrue(t *testing.T) {
	require.Empty(t, v.Error)
	require.NotEmpty(t, v.Threads)
	for _, name := range sandbox.Namespaces() {
		require.Equal(t, v.Namespaces[name], v.Sandbox.On(name), name)
	}
	const none = "0000000000000000"
	for _, status := range v.Threads {
		require.Equal(t, v.Sandbox.On(sandbox.NoNewPrivs), status["NoNewPrivs"] == "1")
		require.Equal(t, v.Sandbox.On(sandbox.Seccomp), status["Seccomp"] == "2")
		powerless := status["CapEff"] == none && status["CapPrm"] == none && status["CapInh"] == none && status["CapAmb"] == none
		require.Equal(t, v.Sandbox.On(sandbox.Capabilities), powerless, status)
		require.Equal(t, v.Sandbox.On(sandbox.OwnUID), strings.HasPrefix(status["Uid"], "70000\t70000\t70000\t"), status["Uid"])
		if v.Sandbox.On(sandbox.Capabilities) && (v.Sandbox.On(sandbox.UserNamespace) || v.Sandbox.On(sandbox.OwnUID)) {
			require.Equal(t, none, status["CapBnd"])
		}
		if v.Sandbox.On(sandbox.OwnUID) {
			require.Empty(t, status["Groups"])
		}
	}
	require.Equal(t, v.Sandbox.On(sandbox.EmptyRoot), len(v.Root) == 0, v.Root)
	require.Equal(t, v.Sandbox.On(sandbox.EmptyRoot), v.Mounts == 1, "the old root is gone, and not only covered")
	for i, fd := range v.FDs {
		number, target, _ := strings.Cut(fd, " ")
		want := []string{os.DevNull, os.DevNull, "pipe:", "socket:"}
		if n, _ := strconv.Atoi(number); n < len(want) {
			require.Equal(t, i, n)
			require.True(t, strings.HasPrefix(target, want[n]), fd)
		} else {
			require.Contains(t, []string{"anon_inode:[eventpoll]", "anon_inode:[eventfd]"}, target)
		}
	}
	for _, l := range v.Sandbox.Layers {
		require.NotEmpty(t, l.Meaning, l.Name)
		if !l.On {
			require.NotEmpty(t, l.Reason, l.Name)
			require.NotEmpty(t, l.Remedy, l.Name)
		}
	}
}

// lacking is what this machine has not got of what a test compares; empty: nothing.
func lacking() string {
	if os.Geteuid() != 0 {
		return "root, to be any user"
	}
	// The kernel is asked, and not the sandbox, which may be what is broken.
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION); errno != 0 {
		return "Landlock: " + errno.Error()
	}
	for _, uid := range []int{0, 64123} {
		cmd := exec.Command("/proc/self/exe", "-test.run=^$")
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}},
		}
		if err := cmd.Run(); err != nil {
			return "user namespaces: " + err.Error()
		}
	}
	return ""
}

// requireHonest is what holds on every machine: a worker starts in the strict sandbox
// and the report is true, or the call says what is missing, and best effort runs it.
func requireHonest(t *testing.T, missing string) {
	t.Logf("this machine lacks %s", missing)
	v := observe(t, user{}, order{Mode: spawn.Strict})
	if lacks := v.Sandbox.Lacks(); len(lacks) > 0 {
		require.Equal(t, picloud.CodeExecutor, v.Code, v.Error)
		require.Contains(t, v.Error, "the sandbox lacks "+strings.Join(lacks[0], " or "))
		v = observe(t, user{}, order{Mode: spawn.BestEffort})
		require.Equal(t, 1, strings.Count(v.Logs, "less than the strict sandbox"), v.Logs)
	}
	v.requireTrue(t)
}

// TestSandboxPlans starts a worker as root, as a normal user, and as one with a
// capability and a group, in each way that a machine may permit. The report must
// say what the kernel says.
func TestSandboxPlans(t *testing.T) {
	if missing := lacking(); missing != "" {
		requireHonest(t, missing)
		return
	}
	const bindService = 10
	users := map[string]user{
		"root": {groups: []uint32{4, 64122}}, "user": {uid: 64123},
		"service": {uid: 64124, groups: []uint32{4}, caps: []uintptr{bindService}},
	}
	all := append(sandbox.Own(), sandbox.Namespaces()...)
	plain := []string{sandbox.Rlimits, sandbox.NoNewPrivs, sandbox.Capabilities, sandbox.Landlock, sandbox.Seccomp}
	for name, as := range users {
		try := func(what string, without, want []string) {
			t.Run(name+"/"+what, func(t *testing.T) {
				v := observe(t, as, order{Mode: spawn.Strict, Without: without})
				v.requireTrue(t)
				if as.uid == 0 {
					want = append(slices.Clone(want), sandbox.OwnUID)
				}
				var on []string
				for _, l := range v.Sandbox.Layers {
					if l.On {
						on = append(on, l.Name)
					}
				}
				require.ElementsMatch(t, want, on, v.Sandbox)
				require.Empty(t, v.Logs)
			})
		}
		most := all
		if as.uid == 0 { // who needs no user namespace to get the others
			most = spawn.Except(all, []string{sandbox.UserNamespace})
		}
		try("everything", nil, most)
		try("no landlock", []string{sandbox.Landlock}, spawn.Except(most, []string{sandbox.Landlock}))
		try("no namespaces", sandbox.Namespaces(), plain)
		inside := plain
		if as.uid == 0 {
			inside = most
		}
		try("no user namespace", []string{sandbox.UserNamespace}, inside)
		try("no mounts", []string{sandbox.EmptyRoot}, spawn.Except(most, []string{sandbox.EmptyRoot}))
	}
}

// TestSandboxInside runs an agent as the only user of a user namespace, and takes
// from it the right to make more of them: at once, and when it has got used to it.
// Workers start in the next best way, and never in less than the minimum.
func TestSandboxInside(t *testing.T) {
	if missing := lacking(); missing != "" {
		requireHonest(t, missing)
		return
	}
	as := user{uid: 64125, inside: true}
	all := append(sandbox.Own(), sandbox.Namespaces()...)
	layers := func(v report) []string {
		var on []string
		for _, l := range v.Sandbox.Layers {
			if l.On {
				on = append(on, l.Name)
			}
		}
		return on
	}
	v := observe(t, as, order{Mode: spawn.Strict})
	v.requireTrue(t)
	require.ElementsMatch(t, all, layers(v))

	v = observe(t, as, order{Mode: spawn.Strict, Starve: "first"})
	v.requireTrue(t)
	require.ElementsMatch(t, spawn.Except(all, []string{sandbox.UserNamespace}), layers(v), v.Sandbox)
	require.Equal(t, "in namespaces", v.Sandbox.Plan)

	v = observe(t, as, order{Mode: spawn.Strict, Starve: "later"})
	require.Empty(t, v.Error)
	require.Equal(t, 1, strings.Count(v.Logs, "could not be started in the chosen way"), v.Logs)
	require.False(t, v.Namespaces[sandbox.UserNamespace])
	require.True(t, v.Namespaces[sandbox.NetNamespace])
	require.Empty(t, v.Root)

	without := []string{sandbox.Landlock, sandbox.MountNamespace, sandbox.EmptyRoot}
	v = observe(t, as, order{Mode: spawn.Strict, Without: without, Starve: "later"})
	require.Equal(t, picloud.CodeExecutor, v.Code)
}

// TestSandboxMinimum leaves out what strict needs: nothing runs, and the error
// names it. Best effort runs, warns once, and the report still tells the truth.
func TestSandboxMinimum(t *testing.T) {
	if missing := lacking(); missing != "" {
		requireHonest(t, missing)
		return
	}
	for _, c := range []struct {
		name    string
		as      user
		without []string
		lacks   []string // alternatives
	}{
		{"no files kept away", user{}, []string{sandbox.Landlock, sandbox.EmptyRoot}, []string{"landlock", "empty_root"}},
		{"neither landlock nor namespaces", user{uid: 64123}, append(sandbox.Namespaces(), sandbox.Landlock), []string{"landlock", "empty_root"}},
		{"no seccomp", user{uid: 64123}, []string{sandbox.Seccomp}, []string{"seccomp"}},
		{"capabilities", user{}, []string{sandbox.Capabilities}, []string{"capabilities"}},
		{"no rlimits", user{}, []string{sandbox.Rlimits}, []string{"rlimits"}},
		// Without it the kernel takes neither filter nor Landlock from a process
		// without capabilities.
		{"no_new_privs", user{uid: 64123}, []string{sandbox.NoNewPrivs}, []string{"no_new_privs"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := observe(t, c.as, order{Mode: spawn.Strict, Without: c.without})
			require.Equal(t, picloud.CodeExecutor, v.Code, v.Error)
			require.Contains(t, v.Error, "the sandbox lacks "+strings.Join(c.lacks, " or "))
			require.Contains(t, v.Error, "left out by a test")
			require.Contains(t, v.Logs, "no function can run on this node")
			require.Contains(t, v.Sandbox.Lacks(), c.lacks)

			v = observe(t, c.as, order{Mode: spawn.BestEffort, Without: c.without})
			require.Equal(t, 1, strings.Count(v.Logs, "less than the strict sandbox"), v.Logs)
			require.Equal(t, 1, strings.Count(v.Logs, "\n"), v.Logs)
			require.Empty(t, v.Error)
			if !slices.Contains(c.without, sandbox.NoNewPrivs) { // the filter's installation sets it in spite of all
				v.requireTrue(t)
			}
		})
	}
}
