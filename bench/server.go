package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// fleet holds every process that the benchmark started.
type fleet struct {
	processes []*exec.Cmd
	log       *os.File // what the processes say
}

// stop ends the processes, politely first.
func (f *fleet) stop() {
	for _, cmd := range f.processes {
		cmd.Process.Signal(syscall.SIGTERM)
	}
	for _, cmd := range f.processes {
		kill := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
		cmd.Wait()
		kill.Stop()
	}
}

func (f *fleet) start(cmd *exec.Cmd) error {
	cmd.Stdout, cmd.Stderr = f.log, f.log
	if err := cmd.Start(); err != nil {
		return err
	}
	f.processes = append(f.processes, cmd)
	return nil
}

// server is a Caddy that answers a constant.
type server struct{ url string }

// caddy starts a Caddy with one `respond` site, set up like PiCloud's own.
func (f *fleet) caddy(ctx context.Context, dir, name, binary string, args ...string) (*server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	config := fmt.Sprintf(`{
	admin off
	persist_config off
	auto_https off
	storage file_system %q
	log {
		level WARN
	}
	servers {
		protocols h1 h2
	}
}
http://:%d {
	bind 127.0.0.1
	header Content-Type application/json
	respond "{\"hello\":\"Ada\"}"
}
`, filepath.Join(dir, name), port)
	path := filepath.Join(dir, name+".Caddyfile")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, binary, append(args, "--config", path, "--adapter", "caddyfile")...)
	if err := f.start(cmd); err != nil {
		return nil, err
	}
	s := &server{url: fmt.Sprintf("http://127.0.0.1:%d/", port)}
	return s, waitFor(ctx, s.url)
}

// node is a PiCloud node with a data folder and ports of its own.
type node struct {
	functions, control string
	token              string
	pid                int
}

// node starts a PiCloud node whose executor is the given binary, with further
// settings from the environment.
func (f *fleet) node(ctx context.Context, dir, name, worker string, env ...string) (*node, error) {
	home := filepath.Join(dir, name)
	if err := os.Mkdir(home, 0o755); err != nil {
		return nil, err
	}
	// The agent takes the executor that stands beside it.
	for from, to := range map[string]string{"bin/picloud": "picloud", worker: "picloud-executor"} {
		if err := copyFile(from, filepath.Join(home, to)); err != nil {
			return nil, err
		}
	}
	ports := map[string]int{}
	cmd := exec.CommandContext(ctx, filepath.Join(home, "picloud"), "run")
	cmd.Env = append(os.Environ(), "PICLOUD_DATA="+filepath.Join(home, "data"), "PICLOUD_NODE_NAME=bench", "PICLOUD_BIND=127.0.0.1", "PICLOUD_DATABASE_URL=")
	cmd.Env = append(cmd.Env, env...)
	for _, key := range []string{"PICLOUD_HTTP_PORT", "PICLOUD_HTTPS_PORT", "PICLOUD_ADMIN_PORT"} {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		ports[key] = port
		cmd.Env = append(cmd.Env, key+"="+strconv.Itoa(port))
	}
	if err := f.start(cmd); err != nil {
		return nil, err
	}
	n := &node{
		functions: fmt.Sprintf("http://127.0.0.1:%d", ports["PICLOUD_HTTP_PORT"]),
		control:   fmt.Sprintf("http://127.0.0.1:%d", ports["PICLOUD_ADMIN_PORT"]),
		pid:       cmd.Process.Pid,
	}
	if err := waitFor(ctx, n.control+"/readyz"); err != nil {
		return nil, fmt.Errorf("start node %s: %w", name, err)
	}
	raw, err := os.ReadFile(filepath.Join(home, "data", "credentials"))
	if err != nil {
		return nil, err
	}
	var credentials struct{ Token string }
	err = json.Unmarshal(raw, &credentials)
	n.token = credentials.Token
	return n, err
}

// deploy puts code and returns when every node serves it.
func (n *node) deploy(ctx context.Context, app, function, source string) error {
	path := fmt.Sprintf("/apps/%s/functions/%s/code?create=true&deploy=true&wait=all", app, function)
	return n.api(ctx, http.MethodPut, path, "text/plain", source)
}

// set changes settings of a function.
func (n *node) set(ctx context.Context, app, function, settings string) error {
	path := fmt.Sprintf("/apps/%s/functions/%s", app, function)
	return n.api(ctx, http.MethodPatch, path, "application/merge-patch+json", `{"settings":`+settings+`}`)
}

// api makes a call of the control API that must succeed.
func (n *node) api(ctx context.Context, method, path, contentType, body string) error {
	req, err := http.NewRequestWithContext(ctx, method, n.control+"/api/v1"+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+n.token)
	req.Header.Set("Content-Type", contentType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, answer)
	}
	return err
}

// waitFor polls until url answers 200.
func waitFor(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		if _, err := get(ctx, url); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w", url, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// get returns the body of an answer with status 200; others are errors.
func get(ctx context.Context, url string) (body string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, resp.Status)
	}
	return string(raw), err
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func copyFile(from, to string) error {
	raw, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, raw, 0o755)
}
