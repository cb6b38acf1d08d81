package agent

import (
	"sync"
	"sync/atomic"
)

// tenancy is one life of an app. A deleted app can come back under its name, as
// somebody else's: calls that began before end with nothing of the new one.
type tenancy struct{ over atomic.Bool }

// ended reports whether the app was deleted since. The nil tenancy never ends.
func (t *tenancy) ended() bool { return t != nil && t.over.Load() }

// tenancies are the present lives of apps.
type tenancies struct {
	mu   sync.Mutex
	apps map[string]*tenancy
}

func (ts *tenancies) of(app string) *tenancy {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := ts.apps[app]
	if t == nil {
		if ts.apps == nil {
			ts.apps = map[string]*tenancy{}
		}
		t = &tenancy{}
		ts.apps[app] = t
	}
	return t
}

func (ts *tenancies) end(app string) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if t := ts.apps[app]; t != nil {
		t.over.Store(true)
		delete(ts.apps, app)
	}
}
