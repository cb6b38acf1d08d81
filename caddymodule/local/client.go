package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/datadir"
)

const (
	// answerTime bounds the node's answer to a question. A reload takes longer.
	answerTime = 5 * time.Second
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
	err := ask(ctx, dataDir, http.MethodGet, "/status", &s)
	if err == nil {
		return s, nil
	}
	pid, held, lockErr := datadir.Holder(dataDir)
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
	err := ask(ctx, dataDir, http.MethodPost, "/reload", nil)
	switch {
	case errors.Is(err, errNobody):
		return &Away{Data: dataDir}
	case errors.Is(err, fs.ErrPermission):
		return denied("reload node of", dataDir)
	case err != nil:
		return &picloud.Error{
			Code: picloud.CodeInvalid, Op: "reload node", Detail: err.Error(), Hint: "the configuration that ran before stays in use",
		}
	}
	return nil
}

// Stop ends the node of a data folder and waits until its process is gone.
func Stop(ctx context.Context, dataDir string) (pid int, err error) {
	pid, held, err := datadir.Holder(dataDir)
	if err != nil {
		return 0, err
	}
	if !held {
		return 0, &Away{Data: dataDir}
	}
	asking, cancel := context.WithTimeout(ctx, answerTime)
	err = ask(asking, dataDir, http.MethodPost, "/stop", nil)
	cancel()
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
			Hint: "a process has the folder, perhaps in a container: stop it there",
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

// denied explains a node of somebody else.
func denied(op, dataDir string) error {
	return &picloud.Error{
		Code: picloud.CodeInvalid, Op: op, Resource: dataDir, Detail: "it belongs to another user",
		Hint: "run the command as that user, or with sudo",
	}
}

// ask sends a request to the socket of a data folder.
func ask(ctx context.Context, dataDir, method, path string, into any) error {
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", datadir.NodeSocket(dataDir))
		},
		DisableKeepAlives: true,
	}}
	req, err := http.NewRequestWithContext(ctx, method, "http://node"+path, nil)
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
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return fmt.Errorf("read answer of the node: %w", err)
	}
	if resp.StatusCode >= http.StatusBadRequest {
		var t trouble
		if json.Unmarshal(body, &t) != nil || t.Error == "" {
			t.Error = resp.Status
		}
		return errors.New(t.Error)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("read answer of the node: %w", err)
	}
	return nil
}
