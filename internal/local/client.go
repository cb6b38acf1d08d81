package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/datadir"
	"github.com/picloud/picloud/internal/problem"
)

const (
	// answerTime bounds the node's answer to a question. A reload takes longer, and is
	// bounded by its caller.
	answerTime = 5 * time.Second
	// tokenTime bounds a new token, for which the node asks its database.
	tokenTime = 30 * time.Second
	// recoverTime bounds a recovery, for which a group of voters begins anew.
	recoverTime = time.Minute
	// maxAnswer bounds the node's answer, in bytes: a thousand nodes have half of it.
	maxAnswer = 1 << 20
	// lockInterval is how often Stop looks whether the process has ended: the
	// kernel tells nobody.
	lockInterval = 20 * time.Millisecond
)

// errNobody says that no process listens on the socket.
var errNobody = errors.New("nobody listens on the node's socket")

// Away is the error of a command for a running node when none runs.
type Away struct {
	Data string // the folder that was looked at
	Hint string
}

// Error implements error.
func (a *Away) Error() string { return a.Unwrap().Error() }

// Unwrap returns the error as people read it.
func (a *Away) Unwrap() error {
	hint := a.Hint
	if hint == "" {
		hint = "--data or PICLOUD_DATA name another folder"
	}
	return &picloud.Error{Code: picloud.CodeNotFound, Detail: "no node runs on the data folder " + a.Data, Hint: hint}
}

// ExitCode is that of `status` and `stop` when no node runs, as of service scripts.
func (a *Away) ExitCode() int { return 3 }

// Look asks the node of a data folder for its status. When none runs, the status
// says so and the error is nil.
func Look(ctx context.Context, dataDir string) (Status, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	var s Status
	err := ask(ctx, dataDir, statusQuestion, nil, &s)
	if err == nil {
		return s, nil
	}
	if foreign := (*datadir.Foreign)(nil); errors.As(err, &foreign) {
		return Status{}, err
	}
	pid, held, lockErr := holder(dataDir)
	switch {
	case lockErr != nil:
		return Status{}, lockErr
	case !held && errors.Is(err, fs.ErrPermission):
		return Status{}, denied("ask node of", dataDir)
	case !held:
		return Status{Data: dataDir}, nil
	}
	return Status{Running: true, State: Silent, PID: pid, Data: dataDir, Reason: "it does not answer: " + err.Error()}, nil
}

// Reload makes the node of a data folder read its configuration again.
func Reload(ctx context.Context, dataDir string) error {
	return explain("reload node of", dataDir, ask(ctx, dataDir, reloadQuestion, nil, nil))
}

// ReplaceToken makes the node of a data folder replace the API token of a user.
func ReplaceToken(ctx context.Context, dataDir, user string) (made NewToken, err error) {
	ctx, cancel := context.WithTimeout(ctx, tokenTime)
	defer cancel()
	err = ask(ctx, dataDir, tokenQuestion, tokenOf{user}, &made)
	return made, explain("ask node of", dataDir, err)
}

// Seen asks the node of a data folder how it sees its cluster.
func Seen(ctx context.Context, dataDir string) (c Cluster, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	err = ask(ctx, dataDir, clusterQuestion, nil, &c)
	return c, explain("ask node of", dataDir, err)
}

// Recover makes the node of a data folder the only voter of its cluster.
func Recover(ctx context.Context, dataDir string, r Recovery) (done Recovered, err error) {
	ctx, cancel := context.WithTimeout(ctx, recoverTime)
	defer cancel()
	err = ask(ctx, dataDir, recoverQuestion, r, &done)
	return done, explain("ask node of", dataDir, err)
}

// explain turns the trouble of a question into what people read. What the node itself
// has answered stays as it is.
func explain(op, dataDir string, err error) error {
	answered := (*picloud.Error)(nil)
	switch {
	case err == nil, errors.As(err, &answered):
		return err
	case errors.Is(err, errNobody):
		return &Away{Data: dataDir}
	case errors.Is(err, fs.ErrPermission):
		return denied(op, dataDir)
	}
	return &picloud.Error{Code: picloud.CodeInvalid, Op: op, Resource: dataDir, Err: err, Hint: "`picloud status` shows what the node does"}
}

// Stop ends the node of a data folder and waits until its process is gone.
func Stop(ctx context.Context, dataDir string) (pid int, err error) {
	pid, held, err := holder(dataDir)
	if err != nil {
		return 0, err
	}
	if !held {
		return 0, &Away{Data: dataDir}
	}
	asking, cancel := context.WithTimeout(ctx, answerTime)
	err = ask(asking, dataDir, stopQuestion, nil, nil)
	cancel()
	if foreign := (*datadir.Foreign)(nil); errors.As(err, &foreign) {
		return 0, err
	}
	if err != nil && pid != 0 { // it starts, or its socket was removed: a signal reaches it
		err = syscall.Kill(pid, syscall.SIGTERM)
		if errors.Is(err, syscall.ESRCH) {
			err = nil
		}
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		return pid, denied("stop node of", dataDir)
	case err != nil:
		return pid, &picloud.Error{
			Code: picloud.CodeInvalid, Op: "stop node of", Resource: dataDir, Err: err,
			Hint: "a process that this command cannot see has the folder, perhaps one in a container: stop it there",
		}
	}
	return pid, awaitEnd(ctx, dataDir, pid)
}

// awaitEnd waits until no process has the data folder.
func awaitEnd(ctx context.Context, dataDir string, pid int) error {
	tick := time.NewTicker(lockInterval)
	defer tick.Stop()
	for {
		now, held, err := datadir.Holder(dataDir)
		if err != nil {
			return err
		}
		if !held || pid != 0 && now != 0 && now != pid { // or somebody started the next node
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			e := &picloud.Error{
				Code: picloud.CodeInvalid, Op: "stop node of", Resource: dataDir,
				Detail: "it was told to stop and has not ended yet", Hint: "wait longer with --timeout",
			}
			if pid != 0 {
				e.Hint += fmt.Sprintf(", or end it by force: kill -9 %d", pid)
			}
			return e
		}
	}
}

// Denied is the error of a command that may not ask a node.
type Denied struct{ err *picloud.Error }

// Error implements error.
func (d *Denied) Error() string { return d.err.Error() }

// Unwrap returns the error as people read it.
func (d *Denied) Unwrap() error { return d.err }

// denied explains a node of somebody else.
func denied(op, dataDir string) error {
	return &Denied{&picloud.Error{
		Code: picloud.CodeInvalid, Op: op, Resource: dataDir, Detail: "it belongs to another user",
		Hint: "run the command as that user, or with sudo",
	}}
}

// holder is datadir.Holder. It does not believe a lock that a stranger has left: the
// process that it names would get a signal.
func holder(dataDir string) (pid int, held bool, err error) {
	if err := believed(dataDir).Check(datadir.LockPath(dataDir)); err != nil {
		return 0, false, err
	}
	return datadir.Holder(dataDir)
}

// believed are the owners of what a command believes below a data folder, which somebody
// has named or whose owner was checked.
func believed(dataDir string) datadir.Owners { return datadir.Believed(os.Getenv).With(dataDir) }

// ask sends a question to the socket of a data folder. An error that the node answered is
// a *picloud.Error.
func ask(ctx context.Context, dataDir string, q question, body, into any) error {
	socket := datadir.FindNodeSocket(dataDir)
	for _, path := range []string{filepath.Dir(socket), socket} { // the folder may stand in /tmp
		if err := believed(dataDir).Check(path); err != nil {
			return err
		}
	}
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: true,
	}}
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, q.method, "http://node"+q.path, content)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOTDIR):
		return errNobody
	case errors.Is(err, fs.ErrPermission):
		return fs.ErrPermission
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("it did not answer in time")
	case err != nil:
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read answer of the node: %w", err)
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return refusal(resp, answer)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("read answer of the node: %w", err)
	}
	return nil
}

// refusal reads the problem that a node has answered.
func refusal(resp *http.Response, answer []byte) error {
	var p problem.Problem
	if json.Unmarshal(answer, &p) != nil || p.Code == "" {
		return fmt.Errorf("the node answered %s; does another version of PiCloud run there?", resp.Status)
	}
	e := &picloud.Error{Code: p.Code, Detail: p.Detail, Hint: p.Hint, Fields: p.Errors}
	if e.Detail == "" {
		e.Detail = p.Title
	}
	return e
}
