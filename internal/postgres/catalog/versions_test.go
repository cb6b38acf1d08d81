package catalog_test

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/testdb"
)

func TestPublish(t *testing.T) {
	db := testdb.NewWithRoot(t)
	people := testdb.Cast(t, db)
	p := picloud.Publication{App: "blog", Function: "hello", Source: []byte("one")}

	_, err := db.Versions().Publish(t.Context(), people[developer], p)
	testdb.RequireCode(t, picloud.CodeNotFound, err)
	p.Create = true
	_, err = db.Versions().Publish(t.Context(), people[viewer], p)
	testdb.RequireCode(t, picloud.CodeForbidden, err)
	_, err = db.Versions().Publish(t.Context(), people[""], p)
	testdb.RequireCode(t, picloud.CodeNotFound, err)

	// A version alone serves nothing.
	one, err := db.Versions().Publish(t.Context(), people[developer], p)
	require.NoError(t, err)
	require.False(t, one.Existing)
	require.Nil(t, one.Deployment)
	require.Equal(t, picloud.Version{
		App: "blog", Function: "hello", Number: 1, Digest: picloud.DigestOf([]byte("one")), Size: 3,
		CreatedBy: "developer", CreatedAt: one.Version.CreatedAt,
	}, one.Version)
	require.Empty(t, testdb.Served(t, db))

	// The same code again is the same version, now live.
	p.Deploy = true
	before := testdb.Head(t, db)
	again, err := db.Versions().Publish(t.Context(), people[developer], p)
	require.NoError(t, err)
	require.True(t, again.Existing)
	require.Equal(t, one.Version, again.Version)
	require.Equal(t, 1, again.Deployment.Version)
	require.Equal(t, before+1, again.Deployment.Rev)
	require.Equal(t, before+1, testdb.Head(t, db))

	// Once more changes nothing at all.
	noop, err := db.Versions().Publish(t.Context(), people[developer], p)
	require.NoError(t, err)
	again.Unchanged = true
	require.Equal(t, again, noop)
	require.Equal(t, before+1, testdb.Head(t, db))

	p.Source = []byte("two")
	two, err := db.Versions().Publish(t.Context(), people[developer], p)
	require.NoError(t, err)
	require.Equal(t, 2, two.Version.Number)
	p.Source = []byte("one")
	back, err := db.Versions().Publish(t.Context(), people[developer], p)
	require.NoError(t, err)
	require.True(t, back.Existing)
	require.Equal(t, 1, back.Version.Number)
	require.Greater(t, back.Deployment.ID, two.Deployment.ID)

	f, err := db.Functions().Get(t.Context(), root, "blog", "hello")
	require.NoError(t, err)
	require.Equal(t, 1, f.Version)
	require.Equal(t, back.Deployment.Rev, f.Rev)
}

func TestPublishRefuses(t *testing.T) {
	db := testdb.NewWithRoot(t)
	good := picloud.Publication{App: "blog", Function: "hello", Source: []byte("x"), Create: true, Deploy: true}
	for code, change := range map[picloud.Code]func(*picloud.Publication){
		picloud.CodeSourceBounds: func(p *picloud.Publication) { p.Source = bytes.Repeat([]byte("x"), picloud.MaxSourceSize+1) },
		picloud.CodeInvalid:      func(p *picloud.Publication) { p.Source = nil },
	} {
		p := good
		change(&p)
		_, err := db.Versions().Publish(t.Context(), root, p)
		testdb.RequireCode(t, code, err)
	}
	for _, name := range []string{"", "A", "a/b"} {
		p := good
		p.App = name
		_, err := db.Versions().Publish(t.Context(), root, p)
		testdb.RequireCode(t, picloud.CodeInvalid, err)
		p = good
		p.Function = name
		_, err = db.Versions().Publish(t.Context(), root, p)
		testdb.RequireCode(t, picloud.CodeInvalid, err)
	}
	require.Zero(t, testdb.Head(t, db))
	p := good
	p.Source = bytes.Repeat([]byte{0xff}, picloud.MaxSourceSize)
	_, err := db.Versions().Publish(t.Context(), root, p)
	require.NoError(t, err, "the largest source, and any bytes")
}

func TestPublishMakesTheAppForAClusterAdmin(t *testing.T) {
	db := testdb.NewWithRoot(t)
	boss := testdb.ClusterAdmin(t, db, "ada")
	ada := picloud.Actor{User: "ada"} // an admin who does not act as one
	p := picloud.Publication{App: "default", Function: "hello", Source: []byte("x"), Create: true, Deploy: true}
	_, err := db.Versions().Publish(t.Context(), ada, p)
	testdb.RequireCode(t, picloud.CodeNotFound, err)
	_, err = db.Versions().Publish(t.Context(), boss, p)
	require.NoError(t, err)
	require.Equal(t, owner, testdb.RoleOf(t, db, "default", "ada"))
	require.Equal(t, map[string]int{"default/hello": 1}, testdb.Served(t, db))
}

func TestManyPublishAtOnce(t *testing.T) {
	db := testdb.Wide(t)
	const clients = 50
	published := make([]picloud.Published, clients)
	var wg sync.WaitGroup
	for i := range published {
		wg.Go(func() {
			var err error
			published[i], err = db.Versions().Publish(t.Context(), root, picloud.Publication{
				App: "default", Function: "hello", Source: fmt.Appendf(nil, "source %d", i%10), Create: true, Deploy: true,
			})
			if err != nil {
				t.Errorf("publish: %v", err)
			}
		})
	}
	wg.Wait()
	made := map[picloud.Digest]int{}
	revs := map[int64]int{}
	for _, p := range published {
		if !p.Existing {
			made[p.Version.Digest]++
		}
		require.LessOrEqual(t, p.Version.Number, 10)
		require.Equal(t, p.Version.Number, p.Deployment.Version)
		if v, ok := revs[p.Deployment.Rev]; ok {
			require.Equal(t, v, p.Deployment.Version, "one revision, one deployment")
		}
		revs[p.Deployment.Rev] = p.Deployment.Version
	}
	require.Len(t, made, 10)
	for _, n := range made {
		require.Equal(t, 1, n, "each source was made a version once")
	}
	items, _, err := db.Versions().List(t.Context(), root, "default", "hello", picloud.Page{})
	require.NoError(t, err)
	require.Len(t, items, 10)
}

func TestVersionsAndTheirCode(t *testing.T) {
	db := testdb.NewWithRoot(t)
	people := testdb.Cast(t, db)
	for i := range 5 {
		testdb.Publish(t, db, "blog", "hello", fmt.Sprint("source ", i+1))
	}
	var numbers []int
	page := picloud.Page{Limit: 2}
	for {
		items, next, err := db.Versions().List(t.Context(), people[viewer], "blog", "hello", page)
		require.NoError(t, err)
		for _, v := range items {
			numbers = append(numbers, v.Number)
		}
		if next == "" {
			break
		}
		page.Cursor = next
	}
	require.Equal(t, []int{5, 4, 3, 2, 1}, numbers)
	v, err := db.Versions().Get(t.Context(), people[viewer], "blog", "hello", 3)
	require.NoError(t, err)
	require.Equal(t, 3, v.Number)
	source, err := db.Versions().Source(t.Context(), people[viewer], "blog", "hello", 3)
	require.NoError(t, err)
	require.Equal(t, "source 3", string(source))
	for _, number := range []int{0, 6, -1, 1 << 40} {
		_, err = db.Versions().Get(t.Context(), root, "blog", "hello", number)
		testdb.RequireCode(t, picloud.CodeNotFound, err)
		_, err = db.Versions().Source(t.Context(), root, "blog", "hello", number)
		testdb.RequireCode(t, picloud.CodeNotFound, err)
	}
	_, err = db.Versions().Source(t.Context(), people[""], "blog", "hello", 3)
	testdb.RequireCode(t, picloud.CodeNotFound, err)
	_, _, err = db.Versions().List(t.Context(), root, "blog", "nope", picloud.Page{})
	testdb.RequireCode(t, picloud.CodeNotFound, err)
	_, _, err = db.Versions().List(t.Context(), root, "blog", "hello", picloud.Page{Cursor: "x"})
	testdb.RequireCode(t, picloud.CodeInvalid, err)
	_, err = db.Functions().Create(t.Context(), root, "blog", "idle", picloud.Settings{})
	require.NoError(t, err)
	items, _, err := db.Versions().List(t.Context(), root, "blog", "idle", picloud.Page{})
	require.NoError(t, err)
	require.Empty(t, items)
}
