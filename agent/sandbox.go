package agent

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/picloud/picloud/executor"
)

// sandboxFindings starts a throw-away executor, which shows that the whole way of
// spawning works, and tells of each layer of its sandbox whether it is on.
func sandboxFindings(ctx context.Context, opts Options) []Finding {
	const part = "sandbox"
	exec, err := executor.New(executor.Options{WorkerPath: opts.WorkerPath, Sandbox: opts.Sandbox, Logger: slog.New(slog.DiscardHandler)})
	if err == nil {
		err = exec.Start(ctx)
	}
	if err != nil {
		return []Finding{finding(part, "", err)}
	}
	defer exec.Stop()
	begin := time.Now()
	_, err = exec.Compile(ctx, []byte("function handle(req) { return 1 }"), "doctor")
	box := exec.Sandbox()
	detail := fmt.Sprintf("%s; executors start %s, and one compiled a script in %d ms", box.Mode, box.Plan, time.Since(begin).Milliseconds())
	list := []Finding{finding(part, detail, err)}
	lacks := box.Lacks()
	for _, l := range box.Layers {
		list = append(list, layerFinding(l, box.Mode, lacks))
	}
	return list
}

// layerFinding is "fail" where strict needs the layer, and "warn" where it would
// only add to what is on.
func layerFinding(l executor.SandboxLayer, mode string, lacks [][]string) Finding {
	f := Finding{Part: "sandbox: " + l.Name, State: "ok", Detail: l.Meaning}
	if l.On {
		return f
	}
	f.State, f.Detail, f.Remedy = "warn", "off: "+l.Reason, l.Remedy
	needed := slices.ContainsFunc(lacks, func(either []string) bool { return slices.Contains(either, l.Name) })
	if needed && mode == executor.SandboxStrict {
		f.State = "fail"
	}
	return f
}
