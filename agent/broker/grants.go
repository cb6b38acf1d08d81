package broker

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/egress"
)

// Grants say what a function may have of its node. They never change. They end with
// the life of the app.
type Grants struct {
	life     *life
	app      picloud.AppConfig
	settings picloud.Settings // of the function
	resource string           // app/function
	function string
	egress   *egress.Policy
	trial    *Trial // nil: what the function does is real
}

// Grants returns those of a function, within the present life of its app.
func (b *Broker) Grants(function string, settings picloud.Settings, app picloud.AppConfig) *Grants {
	return &Grants{
		life: b.lives.of(app.App), app: app, settings: settings,
		resource: app.App + "/" + function, function: function, egress: egress.ParsePolicy(settings.Egress),
	}
}

// EndApp ends the life of an app that was deleted: host calls under its grants are
// refused from now on, those under way included.
func (b *Broker) EndApp(app string) { b.lives.end(app) }

// inApp completes a command of the CLI that is about the function's app.
func (g *Grants) inApp(command string) string {
	if g.app.App == picloud.DefaultApp {
		return command
	}
	return "--app " + g.app.App + " " + command
}

// secret returns a sealed value, if the function may read it.
func (g *Grants) secret(name string) ([]byte, bool) {
	if allowed := g.settings.Secrets; allowed != nil && !slices.Contains(allowed, name) {
		return nil, false
	}
	sealed, ok := g.app.Secrets[name]
	return sealed, ok
}

// life is one life of an app, from its creation to its deletion. It is what the trade
// calls a generation: a deleted app can come back under its name, as somebody else's,
// and a call that began before gets nothing of the new one.
type life struct{ over atomic.Bool }

// lives are the present lives of apps.
type lives struct {
	mu   sync.Mutex
	apps map[string]*life
}

func (ls *lives) of(app string) *life {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.apps[app]
	if l == nil {
		if ls.apps == nil {
			ls.apps = map[string]*life{}
		}
		l = &life{}
		ls.apps[app] = l
	}
	return l
}

func (ls *lives) end(app string) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if l := ls.apps[app]; l != nil {
		l.over.Store(true)
		delete(ls.apps, app)
	}
}
