package spawn

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/picloud/picloud/executor/sandbox"
)

// inspect looks at a worker from outside: it adds the layers that the agent gives,
// and takes back those that the worker claims and the kernel denies.
func inspect(pid int, s *Sandbox, uid int) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	for _, name := range slices.Backward(sandbox.Namespaces()) { // the means come last
		file := filepath.Join("ns", cloneFlags[name].file)
		theirs, err := os.Readlink(filepath.Join(dir, file))
		ours, ownErr := os.Readlink(filepath.Join("/proc/self", file))
		l := Layer{Name: name}
		switch {
		case err != nil || ownErr != nil:
			l.Reason = fmt.Sprintf("it cannot be looked at: %v", err)
		case theirs != ours:
			l.On = true
		}
		if name == sandbox.UserNamespace && !l.On && s.On(sandbox.MountNamespace) {
			continue // the means for the others, which root has without
		}
		s.Layers = append(s.Layers, l)
	}
	own := Layer{Name: sandbox.OwnUID}
	threads, err := statuses(dir)
	switch {
	case err != nil:
		own.Reason = err.Error()
	case uid == NoUID:
		own.Reason = "the node is not root, or its user namespace has no other uid"
	case uid == nobody:
		own.Reason = "the user namespace of the node has no uids for apps: they share one"
	default:
		want := strconv.Itoa(uid)
		own.On = everywhere(threads, "Uid", want+"\t"+want+"\t"+want+"\t"+want) && everywhere(threads, "Groups", "")
		own.Reason = "the kernel shows another uid"
	}
	if own.On {
		own.Reason = ""
	}
	s.Layers = append(s.Layers, own)
	deny := func(name string, holds bool) {
		i := slices.IndexFunc(s.Layers, func(l Layer) bool { return l.Name == name })
		if i >= 0 && s.Layers[i].On && (err != nil || !holds) {
			s.Layers[i].On, s.Layers[i].Reason = false, "the executor claims it, the kernel denies it"
		}
	}
	const none = "0000000000000000"
	deny(sandbox.NoNewPrivs, everywhere(threads, "NoNewPrivs", "1"))
	deny(sandbox.Seccomp, everywhere(threads, "Seccomp", "2"))
	deny(sandbox.Capabilities, everywhere(threads, "CapEff", none) && everywhere(threads, "CapPrm", none) &&
		everywhere(threads, "CapInh", none) && everywhere(threads, "CapAmb", none))
}

// statuses reads what the kernel says of each thread of a process.
func statuses(dir string) ([]map[string]string, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "task/*/status"))
	if err != nil {
		return nil, err
	}
	var out []map[string]string
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // that thread ended
		}
		fields := map[string]string{}
		for line := range strings.Lines(string(b)) {
			name, value, _ := strings.Cut(line, ":")
			fields[name] = strings.TrimSpace(value)
		}
		out = append(out, fields)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s has no threads", dir)
	}
	return out, nil
}

// everywhere reports whether a field has the value in every thread.
func everywhere(threads []map[string]string, field, value string) bool {
	return !slices.ContainsFunc(threads, func(t map[string]string) bool { return t[field] != value })
}
