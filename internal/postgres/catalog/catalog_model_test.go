package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres/store"
	"github.com/picloud/picloud/internal/testdb"
)

// puller is a node's copy of the catalog, kept by deltas alone.
type puller struct {
	incarnation string
	rev         int64
	routes      map[picloud.RouteKey]picloud.Route
	apps        map[string]picloud.AppConfig
}

// pull applies one delta; it fails when the catalog went backwards or when the
// delta holds what it must not.
func (p *puller) pull(ctx context.Context, db *store.DB) error {
	d, err := db.Catalog().Delta(ctx, "", p.incarnation, p.rev)
	if err != nil {
		return err
	}
	if d.Rev < p.rev {
		return fmt.Errorf("revision went from %d to %d", p.rev, d.Rev)
	}
	if d.Full {
		p.routes, p.apps = map[picloud.RouteKey]picloud.Route{}, map[string]picloud.AppConfig{}
	}
	for _, r := range d.Routes {
		if r.Rev > d.Rev || !d.Full && r.Rev <= p.rev {
			return fmt.Errorf("route of revision %d in the delta from %d to %d", r.Rev, p.rev, d.Rev)
		}
		p.routes[r.Key()] = r
	}
	for _, a := range d.Apps {
		if a.Rev > d.Rev || !d.Full && a.Rev <= p.rev {
			return fmt.Errorf("app of revision %d in the delta from %d to %d", a.Rev, p.rev, d.Rev)
		}
		p.apps[a.App] = a
	}
	for _, key := range d.Gone {
		if key.Function == "" {
			delete(p.apps, key.App)
		}
		delete(p.routes, key)
	}
	for key := range p.routes {
		if _, ok := p.apps[key.App]; !ok {
			return fmt.Errorf("the app of %v is missing", key)
		}
	}
	p.incarnation, p.rev = d.Incarnation, d.Rev
	return nil
}

// write does one random change; what it asks for may not exist.
func write(ctx context.Context, db *store.DB, kind, app, function, n int) error {
	a, f := fmt.Sprintf("app-%d", app), fmt.Sprintf("f-%d", function)
	var err error
	switch kind {
	default:
		_, err = db.Versions().Publish(ctx, root, picloud.Publication{App: a, Function: f, Source: fmt.Appendf(nil, "%d", n), Create: true, Deploy: n%4 != 0})
	case 1:
		err = testdb.ErrorOf(db.Functions().Delete(ctx, root, a, f, 0))
	case 2:
		_, err = db.Deployments().Rollback(ctx, root, a, f, 0)
	case 3:
		_, err = db.Deployments().Deploy(ctx, root, a, f, 1+n%3)
	case 4:
		_, err = db.Functions().UpdateSettings(ctx, root, a, f, picloud.Settings{Limits: picloud.Limits{Concurrency: 1 + n}}, 0)
	case 5:
		if n%4 == 0 {
			err = testdb.ErrorOf(db.Apps().Delete(ctx, root, a))
		}
	case 8:
		_, err = db.Apps().UpdateSettings(ctx, root, a, picloud.AppSettings{Limits: picloud.Limits{Concurrency: 1 + n}}, 0)
	case 9:
		_, err = db.Env().Replace(ctx, root, a, picloud.Env{fmt.Sprintf("V%d", n%3): fmt.Sprint(function)}, 0)
	case 10:
		var key []byte
		if key, err = db.Secrets().DataKey(ctx, root, a, fmt.Appendf(nil, "key %d", n)); err == nil {
			err = testdb.ErrorOf(db.Secrets().Put(ctx, root, a, fmt.Sprintf("S%d", function), fmt.Appendf(nil, "sealed %d", n), key))
		}
	case 11:
		err = testdb.ErrorOf(db.Secrets().Delete(ctx, root, a, fmt.Sprintf("S%d", function)))
	}
	if errors.Is(err, picloud.ErrNotFound) || picloud.CodeOf(err) == picloud.CodeConflict {
		return nil
	}
	return err
}

// Whatever concurrent writers do, nodes that apply deltas end with what a full
// read finds: one that follows closely, and one that looks rarely.
func TestDeltasLeadToTheCatalog(t *testing.T) {
	db := testdb.Wide(t)
	db.SetBounds(4, 4)
	near, rare := &puller{}, &puller{}
	ctx := t.Context()
	rapid.Check(t, func(rt *rapid.T) {
		op := rapid.SliceOfN(rapid.SliceOfN(rapid.IntRange(0, 11), 4, 4), 1, 12)
		work := rapid.SliceOfN(op, 3, 3).Draw(rt, "writers")
		errs := make([]error, len(work)+1)
		var writers, follower sync.WaitGroup
		for i, ops := range work {
			writers.Go(func() {
				for _, o := range ops {
					errs[i] = errors.Join(errs[i], write(ctx, db, o[0], o[1]%2, o[2]%4, o[3]))
				}
			})
		}
		done := make(chan struct{}) // closed when the writers are through
		follower.Go(func() {
			for {
				if errs[len(work)] = near.pull(ctx, db); errs[len(work)] != nil {
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
		writers.Wait()
		close(done)
		follower.Wait()
		require.NoError(rt, errors.Join(errs...))
		require.NoError(rt, near.pull(ctx, db))
		if rapid.Bool().Draw(rt, "rare looks too") {
			require.NoError(rt, rare.pull(ctx, db))
			require.Equal(rt, near, rare)
		}
		whole := &puller{}
		require.NoError(rt, whole.pull(ctx, db))
		require.Equal(rt, whole.rev, near.rev)
		require.Equal(rt, whole.routes, near.routes)
		require.Equal(rt, whole.apps, near.apps)
	})
}
