package worker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/picloud/picloud/executor/sandbox"
	"github.com/picloud/picloud/executor/wire"
)

// binary is the real worker, built once.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "picloud-worker")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "picloud-executor")
	build := exec.Command("go", "build", "-o", binary, "github.com/picloud/picloud/cmd/picloud-executor")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the worker: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// agent is the other end of a worker's socket.
type agent struct {
	t      testing.TB
	socket *os.File
	reader *wire.Reader
	writer *wire.Writer
	ended  func() error // waits for the worker's end

	process *os.Process
	stderr  *bytes.Buffer
	slots   uint64
	calls   uint64
}

// frame is a frame that came from the worker.
type frame struct {
	header  wire.Header
	payload []byte
}

func pair(t testing.TB) (ours, theirs *os.File) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	for _, fd := range fds {
		syscall.CloseOnExec(fd)
		require.NoError(t, syscall.SetNonblock(fd, true))
	}
	return os.NewFile(uintptr(fds[0]), "agent"), os.NewFile(uintptr(fds[1]), "worker")
}

func newAgent(t testing.TB, ours *os.File) *agent {
	t.Cleanup(func() { _ = ours.Close() })
	require.NoError(t, ours.SetReadDeadline(time.Now().Add(30*time.Second)))
	a := &agent{t: t, socket: ours, reader: wire.NewReader(ours, nil), writer: wire.NewWriter(ours, false)}
	return a
}

// greet exchanges the first frames.
func (a *agent) greet(memory int64) *agent {
	a.send(wire.TypeConfig, 0, &wire.Config{Version: wire.Version, App: "shop", Memory: memory, Programs: 8})
	f := a.next()
	require.Equal(a.t, wire.TypeHello, f.header.Type)
	return a
}

// inProcess runs a worker in this process, where the race detector sees it.
func inProcess(t testing.TB) *agent {
	ours, theirs := pair(t)
	a := newAgent(t, ours)
	w := newWorker(theirs)
	done := make(chan error, 1)
	go func() {
		err := w.serve(wire.Hello{Version: wire.Version, Layers: []string{"test"}})
		w.busy.Wait()
		_ = theirs.Close()
		done <- err
	}()
	a.ended = func() error {
		select {
		case err := <-done:
			done <- err
			return err
		case <-time.After(20 * time.Second):
			return errors.New("the worker does not end")
		}
	}
	t.Cleanup(func() {
		_ = ours.Close()
		require.NotContains(t, fmt.Sprint(a.ended()), "does not end")
	})
	return a
}

// realProcess runs the worker's binary the way the agent does.
func realProcess(t testing.TB, memory int64) *agent {
	ours, theirs := pair(t)
	a := newAgent(t, ours)
	a.stderr = &bytes.Buffer{}
	cmd := exec.Command(binary)
	cmd.Env = []string{"GOMAXPROCS=1", "GOGC=400", "GOTRACEBACK=none", fmt.Sprintf("GOMEMLIMIT=%d", memory)}
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Stderr = a.stderr
	require.NoError(t, cmd.Start())
	require.NoError(t, theirs.Close())
	a.process = cmd.Process
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	a.ended = func() error {
		select {
		case err := <-done:
			done <- err
			return err
		case <-time.After(20 * time.Second):
			return errors.New("the worker does not end")
		}
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = a.ended()
	})
	return a
}

func (a *agent) send(t wire.Type, id uint64, p wire.Payload) {
	a.t.Helper()
	require.NoError(a.t, a.writer.Send(t, id, p))
}

func (a *agent) next() frame {
	a.t.Helper()
	h, payload, err := a.reader.Next()
	require.NoError(a.t, err, "%s", a.stderr)
	return frame{h, bytes.Clone(payload)}
}

func loadFrame(source string, mode wire.Mode) *wire.Load {
	return &wire.Load{
		Mode: mode, Function: "f", Version: 7, Source: []byte(source), Timeout: 2 * time.Second,
		Digest: digestOf(source), ResponseBody: 1 << 20, LogBytes: 1000, HostCalls: 3,
	}
}

func digestOf(source string) (d [32]byte) {
	copy(d[:], fmt.Sprintf("%d:%s", len(source), source))
	if len(source) > 20 {
		copy(d[12:], source[len(source)-20:])
	}
	return d
}

// load loads a program into the next slot and expects that it works.
func (a *agent) load(source string) uint64 {
	a.t.Helper()
	slot, loaded := a.tryLoad(source, wire.ModeServe)
	require.Equal(a.t, wire.ReasonNone, loaded.Reason, loaded.Message)
	return slot
}

func (a *agent) tryLoad(source string, mode wire.Mode) (uint64, wire.Loaded) {
	a.t.Helper()
	slot := a.slots
	a.slots++
	a.send(wire.TypeLoad, slot, loadFrame(source, mode))
	f := a.next()
	require.Equal(a.t, wire.TypeLoaded, f.header.Type)
	require.Equal(a.t, slot, f.header.ID)
	var loaded wire.Loaded
	require.NoError(a.t, loaded.Decode(f.payload))
	return slot, loaded
}

// invoke sends a call and returns its id.
func (a *agent) invoke(slot uint64, with ...func(*wire.Invoke)) uint64 {
	a.t.Helper()
	a.calls++
	v := &wire.Invoke{Slot: uint32(slot), Timeout: 10 * time.Second, Trigger: "http", ID: fmt.Sprintf("call-%d", a.calls), Method: "GET", Path: "/"}
	for _, f := range with {
		f(v)
	}
	a.send(wire.TypeInvoke, a.calls, v)
	return a.calls
}

// result expects the answer of a call to be a success, and returns its body.
func (a *agent) result(id uint64) string {
	a.t.Helper()
	f := a.next()
	if f.header.Type == wire.TypeFailure {
		var failure wire.Failure
		require.NoError(a.t, failure.Decode(f.payload))
		require.Fail(a.t, failure.Message)
	}
	require.Equal(a.t, wire.TypeResult, f.header.Type)
	require.Equal(a.t, id, f.header.ID)
	var r wire.Result
	require.NoError(a.t, r.Decode(f.payload))
	return string(r.Body)
}

// failure expects a call to fail.
func (a *agent) failure(id uint64) wire.Failure {
	a.t.Helper()
	f := a.next()
	require.Equal(a.t, wire.TypeFailure, f.header.Type)
	require.Equal(a.t, id, f.header.ID)
	var failure wire.Failure
	require.NoError(a.t, failure.Decode(f.payload))
	return failure
}

// log expects a record.
func (a *agent) log(id uint64) string {
	a.t.Helper()
	f := a.next()
	require.Equal(a.t, wire.TypeLog, f.header.Type)
	require.Equal(a.t, id, f.header.ID)
	var l wire.Log
	require.NoError(a.t, l.Decode(f.payload))
	fields, err := wire.Unmarshal(l.Fields)
	require.NoError(a.t, err)
	require.WithinDuration(a.t, time.Now(), l.Time, time.Minute)
	out := l.Level.String() + " " + l.Message
	if fields != nil {
		b, err := json.Marshal(fields)
		require.NoError(a.t, err)
		out += " " + string(b)
	}
	return out
}

const hello = `function handle(req) { return {hello: req.query.name ?? "world", app: req.app, version: req.version, id: req.id} }`

func TestProcess(t *testing.T) {
	a := realProcess(t, 64<<20)
	a.send(wire.TypeConfig, 0, &wire.Config{Version: wire.Version, App: "shop", Memory: 64 << 20, Programs: 8})
	f := a.next()
	var h wire.Hello
	require.NoError(t, h.Decode(f.payload))
	require.Equal(t, wire.Version, h.Version)
	require.Empty(t, sandbox.Lacks(h.Layers))

	slot := a.load(hello)
	for range 3 {
		id := a.invoke(slot, func(v *wire.Invoke) { v.Query = "name=Ada" })
		require.JSONEq(t, fmt.Sprintf(`{"hello":"Ada","app":"shop","version":7,"id":"call-%d"}`, id), a.result(id))
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.process.Pid))
	require.NoError(t, err)
	require.Contains(t, string(status), "NoNewPrivs:\t1")

	require.NoError(t, a.socket.Close())
	require.NoError(t, a.ended(), a.stderr)
}

func TestByHand(t *testing.T) {
	out, err := exec.Command(binary, "--version").Output()
	require.NoError(t, err)
	require.Equal(t, "picloud-executor dev\n", string(out))

	cmd := exec.Command(binary)
	out, err = cmd.CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, exitNoAgent, exit.ExitCode())
	require.Equal(t, 1, strings.Count(string(out), "\n"))
	require.Contains(t, string(out), "nothing to do by hand")
}

func TestAgentThatBreaksTheProtocol(t *testing.T) {
	config := &wire.Config{Version: wire.Version, App: "shop", Programs: 4}
	for name, talk := range map[string]func(*agent){
		"no config":       func(a *agent) { a.send(wire.TypeInvoke, 1, &wire.Invoke{}) },
		"other version":   func(a *agent) { a.send(wire.TypeConfig, 0, &wire.Config{Version: 99}) },
		"two configs":     func(a *agent) { a.send(wire.TypeConfig, 0, config); a.send(wire.TypeConfig, 0, config) },
		"worker's frame":  func(a *agent) { a.send(wire.TypeConfig, 0, config); a.send(wire.TypeResult, 0, &wire.Result{}) },
		"slot too high":   func(a *agent) { a.send(wire.TypeConfig, 0, config); a.send(wire.TypeLoad, 4, loadFrame(hello, 0)) },
		"unload too high": func(a *agent) { a.send(wire.TypeConfig, 0, config); a.send(wire.TypeUnload, 4, nil) },
		"slot taken": func(a *agent) {
			a.send(wire.TypeConfig, 0, config)
			a.send(wire.TypeLoad, 0, loadFrame(hello, 0))
			a.send(wire.TypeLoad, 0, loadFrame(hello, 0))
		},
		"no CBOR": func(a *agent) {
			a.send(wire.TypeConfig, 0, config)
			_, err := a.socket.Write(wire.AppendFrame(nil, wire.TypeInvoke, 1, nil))
			require.NoError(a.t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := inProcess(t)
			talk(a)
			require.Error(t, a.ended())
		})
	}
	t.Run("process", func(t *testing.T) {
		a := realProcess(t, 64<<20)
		a.send(wire.TypeConfig, 0, &wire.Config{Version: 99})
		var exit *exec.ExitError
		require.ErrorAs(t, a.ended(), &exit)
		require.Equal(t, exitFailed, exit.ExitCode())
		require.Contains(t, a.stderr.String(), "the agent speaks version 99 of the protocol, not 2")
	})
}

func TestEndOfAgent(t *testing.T) {
	for name, before := range map[string]func(*agent){
		"at once":          func(*agent) {},
		"while idle":       func(a *agent) { a.greet(0).load(hello) },
		"during a call":    func(a *agent) { a.greet(0).invoke(a.load(`function handle(req) { range(10000000000).each(x => x) }`)) },
		"inside a frame":   func(a *agent) { a.greet(0); _, _ = a.socket.Write([]byte{1, 2, 3}) },
		"in a native spin": func(a *agent) { a.greet(0).invoke(a.load(`function handle(req) { range(100000000000).each(string) }`)) },
	} {
		t.Run(name, func(t *testing.T) {
			a := realProcess(t, 64<<20)
			before(a)
			require.NoError(t, a.socket.Close())
			err := a.ended()
			if err != nil {
				require.NotContains(t, err.Error(), "does not end")
			}
		})
	}
}
