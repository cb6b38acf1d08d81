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
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/datadir"
	"github.com/picloud/picloud/internal/problem"
	"github.com/picloud/picloud/internal/service"
)

// Node is what the socket asks.
type Node interface {
	Status() Status
	// Reload reads the configuration again. An error means that the one that ran
	// before stays in use.
	Reload() error
	// Stop makes the process end, and does not wait for it.
	Stop()
	// NewToken replaces the API token of a user. saved is the credentials file that got
	// the new one; empty: none.
	NewToken(ctx context.Context, user string) (token, saved string, err error)

	// Cluster is the cluster as the node sees it.
	Cluster() Cluster
	// Recover makes the node the only voter of its cluster.
	Recover(ctx context.Context, r Recovery) (Recovered, error)
}

// Server answers on the socket of a data folder.
type Server struct {
	http *http.Server
	task *service.Task
}

// Listen opens the socket of a data folder. The caller holds the folder's lock, so
// that a socket that is there belongs to a process that has ended.
func Listen(dataDir string, node Node) (*Server, error) {
	if _, err := datadir.RunDir(dataDir); err != nil {
		return nil, err
	}
	path := datadir.NodeSocket(dataDir)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("replace socket: %w", err)
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("open socket for the commands of this machine: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil { // its folder is closed to others meanwhile
		return nil, errors.Join(fmt.Errorf("close socket to others: %w", err), l.Close())
	}
	mux := http.NewServeMux()
	mux.HandleFunc(statusQuestion.pattern(), func(w http.ResponseWriter, _ *http.Request) { write(w, http.StatusOK, node.Status()) })
	mux.HandleFunc(reloadQuestion.pattern(), func(w http.ResponseWriter, _ *http.Request) { serveReload(w, node) })
	mux.HandleFunc(stopQuestion.pattern(), func(w http.ResponseWriter, _ *http.Request) {
		write(w, http.StatusAccepted, struct{}{})
		node.Stop()
	})
	mux.HandleFunc(tokenQuestion.pattern(), func(w http.ResponseWriter, r *http.Request) { serveToken(w, r, node) })
	mux.HandleFunc(clusterQuestion.pattern(), func(w http.ResponseWriter, _ *http.Request) { write(w, http.StatusOK, node.Cluster()) })
	mux.HandleFunc(recoverQuestion.pattern(), func(w http.ResponseWriter, r *http.Request) { serveRecover(w, r, node) })
	s := &Server{http: &http.Server{Handler: mux, ReadTimeout: 5 * time.Second, IdleTimeout: 5 * time.Second, MaxHeaderBytes: 4 << 10}}
	s.task = service.Go(context.Background(), func(context.Context) { _ = s.http.Serve(l) }) // Close ends it
	return s, nil
}

// maxQuestion bounds what a command sends, in bytes.
const maxQuestion = 4 << 10

// serveToken answers `picloud user token USER --local`. Who can open the socket owns the node:
// the same people can read the cluster's key.
func serveToken(w http.ResponseWriter, r *http.Request, node Node) {
	var asked tokenOf
	if err := json.NewDecoder(io.LimitReader(r.Body, maxQuestion)).Decode(&asked); err != nil {
		problem.Write(w, &picloud.Error{Code: picloud.CodeInvalid, Detail: "the request is not JSON with a user"}, "")
		return
	}
	token, saved, err := node.NewToken(r.Context(), asked.User)
	if err != nil {
		problem.Write(w, err, "")
		return
	}
	write(w, http.StatusCreated, NewToken{token, saved})
}

// serveRecover answers `picloud cluster recover` and `adopt`. Whoever can open the socket can
// also empty the node's data folder.
func serveRecover(w http.ResponseWriter, r *http.Request, node Node) {
	var asked Recovery
	if err := json.NewDecoder(io.LimitReader(r.Body, maxQuestion)).Decode(&asked); err != nil {
		problem.Write(w, &picloud.Error{Code: picloud.CodeInvalid, Detail: "the request is not JSON"}, "")
		return
	}
	done, err := node.Recover(r.Context(), asked)
	if err != nil {
		problem.Write(w, err, "")
		return
	}
	write(w, http.StatusOK, done)
}

// serveReload answers `picloud reload`. The error names lines of the Caddyfile, which
// whoever can open the socket may read.
func serveReload(w http.ResponseWriter, node Node) {
	if err := node.Reload(); err != nil {
		problem.Write(w, &picloud.Error{
			Code: picloud.CodeInvalid, Op: "reload node", Detail: err.Error(), Hint: "the configuration that ran before stays in use",
		}, "")
		return
	}
	write(w, http.StatusOK, struct{}{})
}

// Close closes the socket, and with it the connections that are open.
func (s *Server) Close() {
	_ = s.http.Close()
	s.task.Stop()
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client left
}
