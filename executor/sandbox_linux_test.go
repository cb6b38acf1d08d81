package executor

import (
	"bytes"
	"context"
	"encoding/json"
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
	"golang.org/x/sys/unix"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor/sandbox"
	"github.com/picloud/picloud/internal/testworker"
)

// kennelArg makes the test binary an agent that runs one worker and tells what
// the kernel says of it: as another user than the test's own, which a process
// cannot become and stop being.
const kennelArg = "act-as-kennel"

// kennelOrder is what such an agent is asked.
type kennelOrder struct {
	Worker  string
	Mode    string
	Without []string
	Starve  string // "first": user namespaces are used up; "later": once the agent runs
}

// kennelView is what it saw.
type kennelView struct {
	Sandbox    Sandbox
	Error      string // of the call; empty: it answered
	Code       picloud.Code
	Logs       string
	Threads    []map[string]string
	Namespaces map[string]bool // by layer: the worker's is another than ours
	Root       []string
	Mounts     int
	FDs        []string
}

// actAsKennel runs an order and writes what it saw to stdout.
func actAsKennel(text string) {
	var order kennelOrder
	view, err := kennelView{}, json.Unmarshal([]byte(text), &order)
	if err == nil {
		view, err = runKennel(order)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_ = json.NewEncoder(os.Stdout).Encode(view) // the test misses what is not written
}

func runKennel(order kennelOrder) (kennelView, error) {
	var logs bytes.Buffer
	view := kennelView{Namespaces: map[string]bool{}}
	e, err := New(Options{
		WorkerPath: order.Worker, Sandbox: order.Mode, Without: order.Without, MemoryCap: 1 << 30,
		Logger: slog.New(slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return view, err
	}
	if order.Starve == "first" {
		if err := starve(); err != nil {
			return view, err
		}
	}
	if err := e.Start(context.Background()); err != nil {
		return view, err
	}
	defer e.Stop()
	if order.Starve == "later" {
		if err := starve(); err != nil {
			return view, err
		}
	}
	source := []byte(`function handle(req) { return "x" }`)
	f := e.Function(Program{App: "shop", Function: "f", Source: source, Digest: picloud.DigestOf(source), Limits: picloud.DefaultLimits()})
	r, err := f.Invoke(context.Background(), &Call{Path: "/"})
	view.Sandbox, view.Logs = e.Sandbox(), logs.String()
	if err != nil {
		view.Error, view.Code = err.Error(), picloud.CodeOf(err)
		return view, nil
	}
	r.Release()
	dir := filepath.Join("/proc", strconv.Itoa(e.live("shop").process.pid))
	if view.Threads, err = statuses(dir); err != nil {
		return view, err
	}
	for _, name := range sandbox.Namespaces() {
		theirs, err := os.Readlink(filepath.Join(dir, "ns", cloneFlags[name].file))
		if err != nil {
			return view, err
		}
		ours, err := os.Readlink(filepath.Join("/proc/self/ns", cloneFlags[name].file))
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

// user is who an agent of a test is.
type user struct {
	uid    int // 0: as the test
	groups []uint32
	caps   []uintptr // ambient, as systemd gives them
	inside bool      // it is root of a user namespace that has no other uid, as in some containers
}

// kennel runs an agent as a user and returns what it saw.
func kennel(t *testing.T, as user, order kennelOrder) kennelView {
	order.Worker = testworker.Path(t)
	text, err := json.Marshal(order)
	require.NoError(t, err)
	binary, err := os.Open(self(t))
	require.NoError(t, err)
	defer binary.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/fd/3", kennelArg, string(text)) // go test keeps its binary where others cannot reach it
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
	var view kennelView
	require.NoError(t, json.NewDecoder(io.LimitReader(&stdout, 1<<20)).Decode(&view))
	return view
}

// requireTrue compares a report with what the kernel says of a live worker.
func (v kennelView) requireTrue(t *testing.T) {
	require.Empty(t, v.Error)
	require.NotEmpty(t, v.Threads)
	for _, name := range sandbox.Namespaces() {
		require.Equal(t, v.Namespaces[name], v.Sandbox.on(name), name)
	}
	const none = "0000000000000000"
	for _, status := range v.Threads {
		require.Equal(t, v.Sandbox.on(sandbox.NoNewPrivs), status["NoNewPrivs"] == "1")
		require.Equal(t, v.Sandbox.on(sandbox.Seccomp), status["Seccomp"] == "2")
		powerless := status["CapEff"] == none && status["CapPrm"] == none && status["CapInh"] == none && status["CapAmb"] == none
		require.Equal(t, v.Sandbox.on(sandbox.Capabilities), powerless, status)
		require.Equal(t, v.Sandbox.on(sandbox.OwnUID), strings.HasPrefix(status["Uid"], "70000\t70000\t70000\t"), status["Uid"])
		if v.Sandbox.on(sandbox.Capabilities) && (v.Sandbox.on(sandbox.UserNamespace) || v.Sandbox.on(sandbox.OwnUID)) {
			require.Equal(t, none, status["CapBnd"])
		}
		if v.Sandbox.on(sandbox.OwnUID) {
			require.Empty(t, status["Groups"])
		}
	}
	require.Equal(t, v.Sandbox.on(sandbox.EmptyRoot), len(v.Root) == 0, v.Root)
	require.Equal(t, v.Sandbox.on(sandbox.EmptyRoot), v.Mounts == 1, "the old root is gone, and not only covered")
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

// needLayers skips a test on a machine that has not got what it compares.
func needLayers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be any user")
	}
	// The kernel is asked, and not the sandbox, which may be what is broken.
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION); errno != 0 {
		t.Skipf("this machine has no Landlock: %v", errno)
	}
	for _, uid := range []int{0, 64123} {
		cmd := exec.Command("/proc/self/exe", "-test.run=^$")
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}},
		}
		if err := cmd.Run(); err != nil {
			t.Skipf("this machine has no user namespaces: %v", err)
		}
	}
}

// TestSandboxPlans starts a worker as root, as a normal user, and as one with a
// capability and a group, in each way that a machine may permit. The report must
// say what the kernel says.
func TestSandboxPlans(t *testing.T) {
	needLayers(t)
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
				v := kennel(t, as, kennelOrder{Mode: SandboxStrict, Without: without})
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
			most = except(all, []string{sandbox.UserNamespace})
		}
		try("everything", nil, most)
		try("no landlock", []string{sandbox.Landlock}, except(most, []string{sandbox.Landlock}))
		try("no namespaces", sandbox.Namespaces(), plain)
		inside := plain
		if as.uid == 0 {
			inside = most
		}
		try("no user namespace", []string{sandbox.UserNamespace}, inside)
		try("no mounts", []string{sandbox.EmptyRoot}, except(most, []string{sandbox.EmptyRoot}))
	}
}

// TestSandboxInside runs an agent as the only user of a user namespace, and takes
// from it the right to make more of them: at once, and when it has got used to it.
// Workers start in the next best way, and never in less than the minimum.
func TestSandboxInside(t *testing.T) {
	needLayers(t)
	as := user{uid: 64125, inside: true}
	all := append(sandbox.Own(), sandbox.Namespaces()...)
	layers := func(v kennelView) []string {
		var on []string
		for _, l := range v.Sandbox.Layers {
			if l.On {
				on = append(on, l.Name)
			}
		}
		return on
	}
	v := kennel(t, as, kennelOrder{Mode: SandboxStrict})
	v.requireTrue(t)
	require.ElementsMatch(t, all, layers(v))

	v = kennel(t, as, kennelOrder{Mode: SandboxStrict, Starve: "first"})
	v.requireTrue(t)
	require.ElementsMatch(t, except(all, []string{sandbox.UserNamespace}), layers(v), v.Sandbox)
	require.Equal(t, "in namespaces", v.Sandbox.Plan)

	v = kennel(t, as, kennelOrder{Mode: SandboxStrict, Starve: "later"})
	require.Empty(t, v.Error)
	require.Equal(t, 1, strings.Count(v.Logs, "could not be started in the chosen way"), v.Logs)
	require.False(t, v.Namespaces[sandbox.UserNamespace])
	require.True(t, v.Namespaces[sandbox.NetNamespace])
	require.Empty(t, v.Root)

	without := []string{sandbox.Landlock, sandbox.MountNamespace, sandbox.EmptyRoot}
	v = kennel(t, as, kennelOrder{Mode: SandboxStrict, Without: without, Starve: "later"})
	require.Equal(t, picloud.CodeExecutor, v.Code)
}

// TestSandboxMinimum leaves out what strict needs: nothing runs, and the error
// names it. Best effort runs, warns once, and the report still tells the truth.
func TestSandboxMinimum(t *testing.T) {
	needLayers(t)
	for _, c := range []struct {
		name    string
		as      user
		without []string
		lacks   string
	}{
		{"no files kept away", user{}, []string{sandbox.Landlock, sandbox.EmptyRoot}, "landlock or empty_root"},
		{"neither landlock nor namespaces", user{uid: 64123}, append(sandbox.Namespaces(), sandbox.Landlock), "landlock or empty_root"},
		{"no seccomp", user{uid: 64123}, []string{sandbox.Seccomp}, "seccomp"},
		{"capabilities", user{}, []string{sandbox.Capabilities}, "capabilities"},
		{"no rlimits", user{}, []string{sandbox.Rlimits}, "rlimits"},
		// Without it the kernel takes neither filter nor Landlock from a process
		// without capabilities.
		{"no_new_privs", user{uid: 64123}, []string{sandbox.NoNewPrivs}, "no_new_privs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := kennel(t, c.as, kennelOrder{Mode: SandboxStrict, Without: c.without})
			require.Equal(t, picloud.CodeExecutor, v.Code, v.Error)
			require.Contains(t, v.Error, c.lacks)
			require.Contains(t, v.Error, "left out by a test")
			require.Contains(t, v.Logs, "no function can run on this node")
			require.Contains(t, v.Sandbox.Lacks(), c.lacks)

			v = kennel(t, c.as, kennelOrder{Mode: SandboxBestEffort, Without: c.without})
			require.Equal(t, 1, strings.Count(v.Logs, "less than the strict sandbox"), v.Logs)
			require.Equal(t, 1, strings.Count(v.Logs, "\n"), v.Logs)
			require.Empty(t, v.Error)
			if !slices.Contains(c.without, sandbox.NoNewPrivs) { // the filter's installation sets it in spite of all
				v.requireTrue(t)
			}
		})
	}
	_, err := New(Options{Sandbox: "none"})
	require.ErrorIs(t, err, picloud.ErrInvalid)
}

// TestRealNeedsNothingRefused runs scripts in workers that end at the first
// refused system call.
func TestRealNeedsNothingRefused(t *testing.T) {
	path := testworker.Path(t)
	e := launch(t, func(o *Options) {
		o.WorkerPath, o.WorkerArgs, o.Layers = path, sandbox.Options{Kill: true}.Args(), nil
	})
	quick := func(l *picloud.Limits) { l.Timeout = picloud.Duration(300 * time.Millisecond) }
	for name, c := range map[string]struct {
		source string
		want   picloud.Code
	}{
		"json":   {`function handle(req) { log.info("x", {a: 1}); return {list: list(range(10000)).map(x => {return {n: x}})} }`, ""},
		"crypto": {`function handle(req) { return crypto.uuid() + base64.encode(crypto.random(32)) + crypto.sha256("x") }`, ""},
		"time":   {`function handle(req) { return "" + time.now() }`, ""},
		"error":  {`function handle(req) { return nothing.at.all }`, picloud.CodeFunctionError},
		"deep":   {`function f(x) { return f(x + 1) } function handle(req) { return f(0) }`, picloud.CodeFunctionError},
		"spin":   {`function handle(req) { range(1000000000).each(x => x) }`, picloud.CodeFunctionTimeout},
		"memory": {`function handle(req) { return list(range(1000000000)) }`, picloud.CodeFunctionMemory},
	} {
		change := quick
		if c.want != picloud.CodeFunctionTimeout {
			change = nil
		}
		f := version(e, name, "f", c.source, 1, change)
		for range 20 {
			_, err := invoke(t, f, "/")
			if name == "crypto" || name == "time" { // what exists there is another package's to say
				require.NotEqual(t, picloud.CodeFunctionCrash, picloud.CodeOf(err), "%v", err)
				continue
			}
			if c.want == "" {
				require.NoError(t, err, name)
				continue
			}
			require.Equal(t, c.want, picloud.CodeOf(err), "%s: %v", name, err)
			if c.want == picloud.CodeFunctionMemory || c.want == picloud.CodeFunctionTimeout {
				break
			}
		}
	}
	require.Zero(t, e.kills(causeCrash)+e.kills(causeSandbox))
}
