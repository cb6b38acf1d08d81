package agent

import "github.com/picloud/picloud"

// ended ends what the node still has of a deleted app: the host calls of calls that
// run, their log records, and the processes that know the app's data. The catalog
// calls it before it makes endpoints for an app of the same name.
func (a *Agent) ended(app string) {
	a.broker.EndApp(app)
	a.logs.end(app, a.ids.id())
	others := a.catalog.table.Load().apps()
	delete(others, app)
	a.executor.Retain(others)
}

// over lists the apps that ended with a delta. An app ended when the delta says that it
// is gone, even if it came back since; when the next table lacks it; and when it has
// another data key, because one app never changes its key.
func (t *table) over(d picloud.Delta, next *table) map[string]bool {
	if t == nil {
		return nil
	}
	over := map[string]bool{}
	for _, gone := range d.Gone {
		if gone.Function == "" {
			over[gone.App] = true
		}
	}
	for app, old := range t.configs {
		now, known := next.configs[app]
		if !known || len(old.Key) > 0 && string(old.Key) != string(now.Key) {
			over[app] = true
		}
	}
	return over
}
