package caddymodule

import (
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/picloud/picloud/agent"
)

// runtimes holds the node of this process, in one entry. Caddy makes a new App
// for each configuration and hands it nothing of the one before, so what outlives
// configurations must be a variable of the package: the new App takes hold of the
// runtime before the old one lets go.
var runtimes = caddy.NewUsagePool()

const runtimeKey = "node"

// runtime is the part of a node that outlives configurations.
type runtime struct {
	agent    *agent.Agent
	settings settings // completed
}

func acquireRuntime(s settings) (*runtime, error) {
	v, _, err := runtimes.LoadOrNew(runtimeKey, func() (caddy.Destructor, error) {
		var err error
		if s.Options, err = s.Complete(); err != nil {
			return nil, err
		}
		launched.Load().equip(&s)
		a, err := agent.New(s.Options)
		if err != nil {
			return nil, err
		}
		launched.Load().hold(a)
		return &runtime{agent: a, settings: s}, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*runtime), nil
}

// activeNode returns the node of the configuration that runs, or nil.
func activeNode() *agent.Agent {
	app, err := caddy.ActiveContext().AppIfConfigured("picloud")
	if err != nil {
		return nil
	}
	return app.(*App).runtime.agent
}

func releaseRuntime() error {
	_, err := runtimes.Delete(runtimeKey)
	return err
}

// accepts refuses fixed settings that differ from those the node runs with.
func (r *runtime) accepts(s settings) error {
	var err error
	if s.Options, err = s.Complete(); err != nil {
		return err
	}
	if names := changed(&r.settings, &s); len(names) > 0 {
		return fmt.Errorf("picloud: %s changed; a reload cannot apply that: restart required", strings.Join(names, ", "))
	}
	return nil
}

// Destruct stops the node.
func (r *runtime) Destruct() error {
	r.agent.Stop()
	return nil
}
