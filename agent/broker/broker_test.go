package broker

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor"
	"github.com/picloud/picloud/executor/hostcall"
	"github.com/picloud/picloud/internal/egress"
	"github.com/picloud/picloud/internal/value"
)

// hidden remembers the last value that it was told.
type hidden struct{ app, name, value string }

func (h *hidden) Learn(app, name, value string) { h.app, h.name, h.value = app, name, value }

func newBroker(t testing.TB, v *Vault) (*Broker, *hidden) {
	t.Helper()
	h := &hidden{}
	b, err := New(Options{Vault: v, Hidden: h})
	require.NoError(t, err)
	t.Cleanup(b.Close)
	return b, h
}

func emptyVault(t testing.TB) *Vault { return NewVault(t.TempDir(), slog.New(slog.DiscardHandler)) }

// asking is a host call with its arguments.
type asking interface{ Append(dst []byte) []byte }

func ask(t testing.TB, b *Broker, g *Grants, name string, c asking) ([]byte, error) {
	t.Helper()
	args, _, err := hostcall.Parse(c.Append(nil))
	require.NoError(t, err)
	return b.Call(t.Context(), executor.HostCall{App: "shop", Function: "f", Grants: g, Name: name, Args: args})
}

// count reads a counter.
func count(c prometheus.Counter) float64 {
	var out dto.Metric
	if err := c.Write(&out); err != nil {
		panic(err)
	}
	return out.GetCounter().GetValue()
}

func code(t testing.TB, err error) string {
	t.Helper()
	var known *hostcall.Error
	require.ErrorAs(t, err, &known, "%v", err)
	return known.Code
}

// entries is a store in memory.
type entries struct {
	items map[string]picloud.KVEntry
	fails error
}

func (e *entries) Get(_ context.Context, key string, _ Room) (picloud.KVEntry, bool, error) {
	entry, ok := e.items[key]
	return entry, ok, e.fails
}

func (e *entries) List(_ context.Context, prefix string, limit int, cursor string, _ Room) (items []picloud.KVEntry, next string, err error) {
	for _, key := range slices.Sorted(maps.Keys(e.items)) {
		items = append(items, e.items[key])
	}
	return items, prefix + cursor, e.fails
}

func (e *entries) Set(_ context.Context, key string, value []byte, _ time.Duration) (int64, error) {
	e.items[key] = picloud.KVEntry{Key: key, Value: value, Version: 7}
	return 7, e.fails
}

func (e *entries) CompareAndSet(_ context.Context, key string, version int64, value []byte, _ time.Duration) (int64, error) {
	if e.items[key].Version != version {
		return 0, e.fails
	}
	e.items[key] = picloud.KVEntry{Key: key, Value: value, Version: version + 1}
	return version + 1, e.fails
}

func (e *entries) Increment(_ context.Context, _ string, by int64, _ time.Duration) (int64, error) {
	return by, e.fails
}

func (e *entries) Delete(_ context.Context, key string, _ int64) (bool, error) {
	_, gone := e.items[key]
	return gone, e.fails
}

// TestValuesPassThrough: what a script sent is kept byte by byte, and comes back so.
func TestValuesPassThrough(t *testing.T) {
	b, _ := newBroker(t, emptyVault(t))
	g := b.Grants("f", picloud.Settings{}, picloud.AppConfig{App: "shop", Settings: picloud.AppSettings{KV: picloud.KVQuota{Keys: 3}}})
	_, err := ask(t, b, g, hostcall.KVGet, hostcall.Get{Key: "k"})
	require.Equal(t, hostcall.CodeKVUnavailable, code(t, err), "before the database is reached")
	store := &entries{items: map[string]picloud.KVEntry{}}
	b.UseKeys(func(app string, quota picloud.KVQuota) Store {
		require.Equal(t, "shop", app)
		require.Equal(t, picloud.KVQuota{Keys: 3}, quota)
		return store
	})
	got := func(name string, c asking) []byte {
		answer, err := ask(t, b, g, name, c)
		require.NoError(t, err)
		return answer
	}
	odd := value.Item("\x82\x19\x00\x01\xfb\x3f\xf8\x00\x00\x00\x00\x00\x00") // in longer forms than needed
	require.Nil(t, got(hostcall.KVGet, hostcall.Get{Key: "k"}))
	require.Equal(t, value.AppendInt(nil, 7), got(hostcall.KVSet, hostcall.Set{Key: "k", Value: odd}))
	require.Equal(t, []byte(odd), store.items["k"].Value)
	require.Equal(t, hostcall.AppendEntry(nil, odd, 7), got(hostcall.KVGet, hostcall.Get{Key: "k"}))
	require.Equal(t, value.AppendInt(nil, 0), got(hostcall.KVCAS, hostcall.CAS{Key: "k", Version: 3, Value: odd}))
	require.Equal(t, value.AppendInt(nil, 8), got(hostcall.KVCAS, hostcall.CAS{Key: "k", Version: 7, Value: odd}))
	require.Equal(t, hostcall.AppendListed(hostcall.AppendPage(nil, "pc", 1), "k", odd, 8), got(hostcall.KVList, hostcall.List{Prefix: "p", Limit: 1, Cursor: "c"}))
	require.Equal(t, value.AppendInt(nil, -2), got(hostcall.KVIncr, hostcall.Incr{Key: "n", By: -2}))
	require.Equal(t, value.AppendBool(nil, true), got(hostcall.KVDelete, hostcall.Delete{Key: "k"}))

	for want, fault := range map[string]error{
		hostcall.CodeKVNotANumber:     &picloud.Error{Code: picloud.CodeConflict, Err: picloud.ErrNotANumber},
		hostcall.CodeKVOverflow:       &picloud.Error{Code: picloud.CodeConflict, Err: picloud.ErrOverflow},
		hostcall.CodeKVQuota:          &picloud.Error{Code: picloud.CodeQuota},
		hostcall.CodeKVTooLarge:       &picloud.Error{Code: picloud.CodeTooLarge},
		hostcall.CodeInvalidArguments: &picloud.Error{Code: picloud.CodeInvalid},
		hostcall.CodeKVUnavailable:    &picloud.Error{Code: picloud.CodeDatabaseDown},
	} {
		store.fails = fault
		for name, c := range map[string]asking{hostcall.KVGet: hostcall.Get{Key: "k"}, hostcall.KVSet: hostcall.Set{Key: "k", Value: odd}, hostcall.KVList: hostcall.List{Limit: 1}} {
			answer, err := ask(t, b, g, name, c)
			require.Nil(t, answer)
			require.Equal(t, want, code(t, err))
		}
	}
	store.fails = errors.New("of no interest to scripts")
	_, err = ask(t, b, g, hostcall.KVGet, hostcall.Get{Key: "k"})
	require.Equal(t, store.fails, err)
	require.Equal(t, 1.0, count(b.calls.WithLabelValues("kv.get", "error")))
	require.Equal(t, 2.0, count(b.calls.WithLabelValues("kv.get", "unavailable")))
	require.Equal(t, 5.0, count(b.calls.WithLabelValues("kv.get", "refused")))
	require.Equal(t, 2.0, count(b.calls.WithLabelValues("kv.get", "ok")))
}

// TestGrantsEndWithTheirApp: an app that comes back has nothing of the first.
func TestGrantsEndWithTheirApp(t *testing.T) {
	b, _ := newBroker(t, emptyVault(t))
	store := &entries{items: map[string]picloud.KVEntry{}}
	b.UseKeys(func(string, picloud.KVQuota) Store { return store })
	first := b.Grants("f", picloud.Settings{}, picloud.AppConfig{App: "shop"})
	same := b.Grants("g", picloud.Settings{}, picloud.AppConfig{App: "shop"})
	other := b.Grants("f", picloud.Settings{}, picloud.AppConfig{App: "blog"})
	b.EndApp("shop")
	b.EndApp("never-there")
	second := b.Grants("f", picloud.Settings{}, picloud.AppConfig{App: "shop"})
	for _, g := range []*Grants{first, same} {
		_, err := ask(t, b, g, hostcall.KVSet, hostcall.Set{Key: "k", Value: value.AppendNull(nil)})
		require.Equal(t, hostcall.CodeCancelled, code(t, err))
	}
	require.Empty(t, store.items)
	for _, g := range []*Grants{other, second} {
		_, err := ask(t, b, g, hostcall.KVSet, hostcall.Set{Key: "k", Value: value.AppendNull(nil)})
		require.NoError(t, err)
	}
	b.UseKeys(func(string, picloud.KVQuota) Store { b.EndApp("shop"); return store })
	answer, err := ask(t, b, second, hostcall.KVGet, hostcall.Get{Key: "k"})
	require.Nil(t, answer, "what was read while the app was deleted is not told")
	require.Equal(t, hostcall.CodeCancelled, code(t, err))
}

// TestFetch sends what the script asked for and answers with what came.
func TestFetch(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header()["X-B"] = []string{r.Header.Get("X-A") + "\xff"}
		w.Header()["Date"] = nil
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, r.Method+" "+string(body))
	}))
	defer server.Close()
	b, _ := newBroker(t, emptyVault(t))
	g := b.Grants("f", picloud.Settings{Egress: []string{server.Listener.Addr().String()}}, picloud.AppConfig{App: "shop"})
	answer, err := ask(t, b, g, hostcall.HTTPFetch, hostcall.Fetch{URL: server.URL, Method: "PUT", Header: []hostcall.Field{{Name: "x-a", Value: "a"}}, Body: []byte("hello")})
	require.NoError(t, err)
	_, pairs, ok := value.Item(answer).Map()
	require.True(t, ok)
	fields := maps.Collect(pairs)
	body, _ := fields["body"].Bytes()
	require.Equal(t, "PUT hello", string(body))
	status, _ := fields["status"].Int()
	require.Equal(t, int64(http.StatusTeapot), status)
	require.Contains(t, string(fields["headers"]), "a\uFFFD")
	_, err = ask(t, b, b.Grants("f", picloud.Settings{}, picloud.AppConfig{App: "shop"}), hostcall.HTTPFetch, hostcall.Fetch{URL: server.URL})
	require.Equal(t, "egress_denied", code(t, err))
	require.Equal(t, 1.0, count(b.outbound.WithLabelValues("ok")))
	require.Equal(t, 1.0, count(b.outbound.WithLabelValues("egress_denied")))
}

// The bounds of the contract are those of who keeps them.
func TestBoundsAreTheSame(t *testing.T) {
	require.Equal(t, picloud.MaxKVKey, hostcall.MaxKey)
	require.Equal(t, picloud.MaxKVValue, hostcall.MaxValue)
	require.Equal(t, picloud.MaxKVDepth, hostcall.MaxDepth)
	require.Equal(t, picloud.MaxKVTTL, hostcall.MaxTTL)
	require.Equal(t, egress.MaxRedirects, hostcall.MaxRedirects)
	require.Equal(t, egress.MaxBody, hostcall.MaxBody)
}

// FuzzHostCall: arguments come from a worker, which may be hostile. Whatever
// they are, the answer is a value or an error that was written for scripts.
func FuzzHostCall(f *testing.F) {
	b, _ := newBroker(f, emptyVault(f))
	g := b.Grants("f", picloud.Settings{}, picloud.AppConfig{App: "shop", Secrets: map[string][]byte{"TOKEN": []byte("no seal")}})
	names := slices.Sorted(maps.Keys(b.functions))
	nested := value.Item("\xa1\x61a\x81\xf9\x3e\x00")
	for i, c := range []asking{
		hostcall.Fetch{URL: "https://a.example/", Method: "GET", Header: []hostcall.Field{{Name: "a", Value: "b"}}, Body: []byte("x"), Timeout: time.Millisecond, Redirects: hostcall.Redirects{Given: true}, MaxBody: 1},
		hostcall.CAS{Key: "k", Value: nested},
		hostcall.Delete{Key: "k"},
		hostcall.Get{Key: "k"},
		hostcall.Incr{Key: "k", By: 1},
		hostcall.List{Limit: 100},
		hostcall.Set{Key: "k", Value: nested, TTL: time.Second},
		hostcall.Secret{Name: "TOKEN"},
	} {
		f.Add(i, c.Append(nil))
	}
	f.Fuzz(func(t *testing.T, which int, raw []byte) {
		args, _, err := hostcall.Parse(raw)
		if err != nil {
			return
		}
		name := names[uint(which)%uint(len(names))]
		_, err = b.Call(t.Context(), executor.HostCall{App: "shop", Function: "f", Grants: g, Name: name, Args: args})
		require.NotEmpty(t, code(t, err), "%s %x", name, raw)
	})
}

// TestWithoutGrantsNothingIsDone: what has none, such as a compile run, can ask
// for nothing.
func TestWithoutGrantsNothingIsDone(t *testing.T) {
	b, _ := newBroker(t, emptyVault(t))
	for _, name := range []string{"secrets.get", "kv.get", "http.fetch", "unknown", "nope"} {
		args, _, err := hostcall.Parse(hostcall.Secret{Name: "TOKEN"}.Append(nil))
		require.NoError(t, err)
		_, err = b.Call(t.Context(), executor.HostCall{App: "shop", Function: "f", Name: name, Args: args})
		require.Equal(t, hostcall.CodeUnknown, code(t, err), name)
	}
}

// A panic of a host function is counted as an error; the executor recovers it.
func TestAPanicIsCounted(t *testing.T) {
	b, _ := newBroker(t, emptyVault(t))
	b.functions[hostcall.KVGet].run = func(context.Context, *Grants, *executor.HostCall) ([]byte, error) { panic("at the disco") }
	g := b.Grants("f", picloud.Settings{}, picloud.AppConfig{App: "shop"})
	require.PanicsWithValue(t, "at the disco", func() { _, _ = b.Call(t.Context(), executor.HostCall{Name: hostcall.KVGet, Grants: g}) })
	require.Equal(t, 1.0, count(b.calls.WithLabelValues("kv.get", "error")))
}
