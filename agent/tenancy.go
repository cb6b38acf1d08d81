package agent

import (
	"sync"
	"sync/atomic"

	"github.com/picloud/picloud"
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

// ended takes an app's life from what the node has of it: host calls of calls
// that still run, records of theirs, and processes that know the app's data. It
// comes before endpoints of an app of the same name.
func (a *Agent) ended(app string) {
	a.tenancies.end(app)
	a.logs.end(app, a.ids.id())
	others := a.catalog.table.Load().apps()
	delete(others, app)
	a.executor.Retain(others)
}

// over lists the apps that ended with a delta: those that it says are gone,
// though they may have come back since, those that a whole catalog has no more,
// and those that have another data key, which no app ever gets.
func (t *table) over(d picloud.Delta, next *table) map[string]bool {
	over := map[string]bool{}
	for _, gone := range d.Gone {
		if gone.Function == "" {
			over[gone.App] = true
		}
	}
	if t == nil {
		return nil
	}
	for app, old := range t.configs {
		now, known := next.configs[app]
		if !known || len(old.Key) > 0 && string(old.Key) != string(now.Key) {
			over[app] = true
		}
	}
	return over
}
