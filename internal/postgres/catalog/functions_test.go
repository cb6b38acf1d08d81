package catalog_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/testdb"
)

func TestFunctions(t *testing.T) {
	db := testdb.NewWithRoot(t)
	people := testdb.Cast(t, db)
	settings := picloud.Settings{
		Limits:  picloud.Limits{Timeout: picloud.Duration(time.Second), Memory: 32 << 20},
		Methods: []string{"GET"},
		CORS:    &picloud.CORS{Origins: []string{"https://example.org"}},
	}
	for role, code := range map[picloud.Role]picloud.Code{"": picloud.CodeNotFound, viewer: picloud.CodeForbidden} {
		_, err := db.Functions().Create(t.Context(), people[role], "blog", "hello", settings)
		testdb.RequireCode(t, code, err)
	}
	made, err := db.Functions().Create(t.Context(), people[developer], "blog", "hello", settings)
	require.NoError(t, err)
	require.Equal(t, settings, made.Settings)
	require.Zero(t, made.Version)
	require.Equal(t, testdb.Head(t, db), made.Rev)
	_, err = db.Functions().Create(t.Context(), people[developer], "blog", "hello", settings)
	testdb.RequireCode(t, picloud.CodeExists, err)
	require.Equal(t, testdb.Head(t, db), made.Rev, "what failed bumped nothing")
	_, err = db.Functions().Create(t.Context(), people[developer], "blog", "Hello", settings)
	testdb.RequireCode(t, picloud.CodeInvalid, err)
	_, err = db.Functions().Create(t.Context(), people[developer], "blog", "other", picloud.Settings{Methods: []string{"BREW"}})
	testdb.RequireCode(t, picloud.CodeInvalid, err)

	got, err := db.Functions().Get(t.Context(), people[viewer], "blog", "hello")
	require.NoError(t, err)
	require.Equal(t, made, got)
	_, err = db.Functions().Get(t.Context(), people[viewer], "blog", "nope")
	testdb.RequireCode(t, picloud.CodeNotFound, err)
	_, err = db.Functions().Get(t.Context(), people[""], "blog", "hello")
	testdb.RequireCode(t, picloud.CodeNotFound, err)

	testdb.Publish(t, db, "blog", "a", "1")
	items, next, err := db.Functions().List(t.Context(), people[viewer], "blog", picloud.Page{Limit: 1})
	require.NoError(t, err)
	require.Equal(t, "a", items[0].Name)
	require.Equal(t, 1, items[0].Version)
	items, next, err = db.Functions().List(t.Context(), people[viewer], "blog", picloud.Page{Limit: 1, Cursor: next})
	require.NoError(t, err)
	require.Equal(t, "hello", items[0].Name)
	require.Empty(t, next)
}

func TestSettingsChangeOnlyWhatWasRead(t *testing.T) {
	db := testdb.NewWithRoot(t)
	people := testdb.Cast(t, db)
	testdb.Publish(t, db, "blog", "hello", "1")
	f, err := db.Functions().Get(t.Context(), root, "blog", "hello")
	require.NoError(t, err)
	limit := func(n int) picloud.Settings { return picloud.Settings{Limits: picloud.Limits{Concurrency: n}} }

	_, err = db.Functions().UpdateSettings(t.Context(), people[viewer], "blog", "hello", limit(1), 0)
	testdb.RequireCode(t, picloud.CodeForbidden, err)
	two, err := db.Functions().UpdateSettings(t.Context(), people[developer], "blog", "hello", limit(2), picloud.MatchVersion(f.Rev))
	require.NoError(t, err)
	require.Equal(t, limit(2), two.Settings)
	require.Equal(t, f.Rev+1, two.Rev)
	require.Equal(t, 1, two.Version)
	_, err = db.Functions().UpdateSettings(t.Context(), people[developer], "blog", "hello", limit(3), picloud.MatchVersion(f.Rev))
	testdb.RequireCode(t, picloud.CodePrecondition, err)
	_, err = db.Functions().UpdateSettings(t.Context(), people[developer], "blog", "nope", limit(3), picloud.MatchVersion(f.Rev))
	testdb.RequireCode(t, picloud.CodeNotFound, err)
	_, err = db.Functions().UpdateSettings(t.Context(), people[developer], "blog", "hello", limit(-3), 0)
	testdb.RequireCode(t, picloud.CodeInvalid, err)
	_, err = db.Functions().UpdateSettings(t.Context(), people[developer], "blog", "hello", limit(3), 0)
	require.NoError(t, err)
	require.Equal(t, f.Rev+2, testdb.Head(t, db))

	// When many changes are based on one read, one of them is made.
	f, err = db.Functions().Get(t.Context(), root, "blog", "hello")
	require.NoError(t, err)
	errs := make([]error, 16)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = db.Functions().UpdateSettings(t.Context(), root, "blog", "hello", limit(10+i), picloud.MatchVersion(f.Rev))
		})
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else {
			require.ErrorIs(t, err, picloud.ErrPrecondition)
		}
	}
	require.Equal(t, 1, won)
}

func TestDeletingAFunction(t *testing.T) {
	dsn := testdb.DSN(t)
	db := testdb.OpenWithRoot(t, dsn)
	people := testdb.Cast(t, db)
	testdb.Publish(t, db, "blog", "hello", "shared")
	testdb.Publish(t, db, "blog", "hello", "own")
	testdb.Publish(t, db, "blog", "other", "shared")
	before, id := testdb.Head(t, db), testdb.Incarnation(t, db)
	f, err := db.Functions().Get(t.Context(), root, "blog", "hello")
	require.NoError(t, err)

	testdb.RequireCode(t, picloud.CodeForbidden, testdb.ErrorOf(db.Functions().Delete(t.Context(), people[viewer], "blog", "hello", 0)))
	testdb.RequireCode(t, picloud.CodePrecondition, testdb.ErrorOf(db.Functions().Delete(t.Context(), people[developer], "blog", "hello", picloud.MatchVersion(f.Rev-1))))
	rev, err := db.Functions().Delete(t.Context(), people[developer], "blog", "hello", picloud.MatchVersion(f.Rev))
	require.NoError(t, err)
	require.Equal(t, before+1, rev)
	testdb.RequireCode(t, picloud.CodeNotFound, testdb.ErrorOf(db.Functions().Delete(t.Context(), people[developer], "blog", "hello", 0)))

	_, err = db.Functions().Create(t.Context(), root, "blog", "idle", picloud.Settings{})
	require.NoError(t, err)
	at := testdb.Head(t, db)
	rev, err = db.Functions().Delete(t.Context(), root, "blog", "idle", 0)
	require.NoError(t, err)
	require.Equal(t, at, rev, "no node had it: it is gone at the present revision")
	require.Equal(t, at, testdb.Head(t, db))

	var code []string
	rows, err := testdb.Connect(t, dsn).Query(t.Context(), `SELECT convert_from(source, 'UTF8') FROM code`)
	require.NoError(t, err)
	for rows.Next() {
		var s string
		require.NoError(t, rows.Scan(&s))
		code = append(code, s)
	}
	require.Equal(t, []string{"shared"}, code, "code goes with the last version that has it")

	d, err := db.Catalog().Delta(t.Context(), "", id, before)
	require.NoError(t, err)
	require.Equal(t, []picloud.RouteKey{{App: "blog", Function: "hello"}}, d.Gone)
	require.Empty(t, d.Routes)

	// The function comes back: it is served, and no longer gone.
	again := testdb.Publish(t, db, "blog", "hello", "new")
	require.Equal(t, 1, again.Version.Number)
	d, err = db.Catalog().Delta(t.Context(), "", id, before)
	require.NoError(t, err)
	require.Empty(t, d.Gone)
	require.Len(t, d.Routes, 1)
}

func TestManyCreateTheSameFunction(t *testing.T) {
	db := testdb.Wide(t)
	testdb.App(t, db, "blog")
	before := testdb.Head(t, db)
	errs := make([]error, 50)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = db.Functions().Create(t.Context(), root, "blog", "hello", picloud.Settings{})
		})
	}
	wg.Wait()
	made := 0
	for _, err := range errs {
		if err == nil {
			made++
		} else if !errors.Is(err, picloud.ErrConflict) {
			t.Errorf("create: %v", err)
		}
	}
	require.Equal(t, 1, made)
	require.Equal(t, before+1, testdb.Head(t, db))
}

// TestAPageOfFunctionsIsBounded: settings hold variables, and a list of many must not
// take the memory of a node.
func TestAPageOfFunctionsIsBounded(t *testing.T) {
	db := testdb.NewWithRoot(t)
	people := testdb.Cast(t, db)
	for i := range 9 {
		env := picloud.Env{"BIG": strings.Repeat("x", 60_000)}
		if i > 6 {
			env = nil
		}
		_, err := db.Functions().Create(t.Context(), people[developer], "blog", fmt.Sprint("f", i), picloud.Settings{Env: env})
		require.NoError(t, err)
	}
	var sizes []int
	var names []string
	for page := (picloud.Page{Limit: 200}); ; {
		items, next, err := db.Functions().List(t.Context(), people[viewer], "blog", page)
		require.NoError(t, err)
		for _, f := range items {
			names = append(names, f.Name)
		}
		sizes = append(sizes, len(items))
		if page.Cursor = next; next == "" {
			break
		}
	}
	require.Equal(t, []string{"f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8"}, names)
	require.Equal(t, []int{4, 5}, sizes)
}
