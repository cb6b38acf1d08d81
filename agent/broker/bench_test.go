package broker

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor"
	"github.com/picloud/picloud/executor/hostcall"
	"github.com/picloud/picloud/internal/seal"
	"github.com/picloud/picloud/internal/testdb"
	"github.com/picloud/picloud/internal/value"
)

// BenchmarkHost is what the node's side of host calls costs.
func BenchmarkHost(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }))
	defer server.Close()
	v := NewVault(b.TempDir(), nil)
	key := seal.Generate()
	v.key.Store(key)
	h, _ := newBroker(b, v)
	db := testdb.New(b)
	testdb.AddRoot(b, db)
	_, err := db.Apps().Create(b.Context(), testdb.Root, "shop")
	require.NoError(b, err)
	h.UseKeys(func(app string, quota picloud.KVQuota) Store { return db.KV().Of(app, quota) })
	app := picloud.AppConfig{App: "shop", Key: key.NewDataKey("shop")}
	data, err := key.Unwrap("shop", app.Key)
	require.NoError(b, err)
	app.Secrets = map[string][]byte{"TOKEN": data.Seal("TOKEN", []byte("a-value-of-some-length"))}
	g := h.Grants("f", picloud.Settings{Egress: []string{server.Listener.Addr().String()}}, app)
	for name, c := range map[string]asking{
		hostcall.SecretsGet: hostcall.Secret{Name: "TOKEN"}, hostcall.KVGet: hostcall.Get{Key: "k"},
		hostcall.KVSet: hostcall.Set{Key: "k", Value: value.AppendText(nil, "value")}, hostcall.HTTPFetch: hostcall.Fetch{URL: server.URL},
	} {
		args, _, err := hostcall.Parse(c.Append(nil))
		require.NoError(b, err)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := h.Call(context.Background(), executor.HostCall{App: "shop", Function: "f", Grants: g, Name: name, Args: args}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
