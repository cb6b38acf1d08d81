package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

// load is one kind of request, sent again and again by a number of callers.
type load struct {
	url         string
	connections int
	body        int // bytes to post; 0: GET
}

// rate is what wrk measured.
type rate struct{ perSecond, p50, p99 float64 } // 1/s, ms, ms

var (
	requestsLine = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)
	latencyLine  = regexp.MustCompile(`(50|99)%\s+([0-9.]+)(us|ms|s)`)
	errorsLine   = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)`)
)

// wrk puts the load on for the duration. A single failed request is an error.
func (l *lab) wrk(ctx context.Context, to load, duration time.Duration) (rate, error) {
	args := []string{"--latency", "--timeout", "10s", "-t", "1", "-c", strconv.Itoa(to.connections), "-d", strconv.Itoa(int(duration.Seconds())) + "s"}
	if to.body > 0 {
		script, err := l.postScript(to.body)
		if err != nil {
			return rate{}, err
		}
		args = append(args, "-s", script)
	}
	out, err := exec.CommandContext(ctx, "wrk", append(args, to.url)...).CombinedOutput()
	if err != nil {
		return rate{}, fmt.Errorf("wrk: %w: %s", err, out)
	}
	if bad := errorsLine.FindString(string(out)); bad != "" {
		return rate{}, fmt.Errorf("wrk on %s: %s", to.url, bad)
	}
	return readRate(out)
}

// postScript makes wrk post a body of that size.
func (l *lab) postScript(size int) (string, error) {
	path := filepath.Join(l.dir, fmt.Sprintf("post-%d.lua", size))
	text := fmt.Sprintf("wrk.method = \"POST\"\nwrk.headers[\"Content-Type\"] = \"application/octet-stream\"\nwrk.body = string.rep(\"x\", %d)\n", size)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

func readRate(out []byte) (res rate, err error) {
	m := requestsLine.FindSubmatch(out)
	if m == nil {
		return res, fmt.Errorf("wrk: no rate in its output: %s", out)
	}
	if res.perSecond, err = strconv.ParseFloat(string(m[1]), 64); err != nil {
		return res, err
	}
	for _, m := range latencyLine.FindAllSubmatch(out, -1) {
		v, err := strconv.ParseFloat(string(m[2]), 64)
		if err != nil {
			return res, err
		}
		v *= map[string]float64{"us": 0.001, "ms": 1, "s": 1000}[string(m[3])]
		if string(m[1]) == "50" {
			res.p50 = v
		} else {
			res.p99 = v
		}
	}
	return res, nil
}
