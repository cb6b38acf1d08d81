package agent

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor"
	"github.com/picloud/picloud/internal/egress"
	"github.com/picloud/picloud/internal/redact"
	"github.com/picloud/picloud/internal/seal"
	"github.com/picloud/picloud/internal/testdb"
)

// BenchmarkHost is what the node's side of host calls costs.
func BenchmarkHost(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }))
	defer server.Close()
	v := newVault(b.TempDir(), nil)
	key := seal.Generate()
	v.key.Store(key)
	client := egress.New(egress.Options{})
	defer client.Close()
	h := newHost(v, new(redact.Secrets), client)
	db := testdb.New(b)
	testdb.AddRoot(b, db)
	_, err := db.Apps().Create(b.Context(), testdb.Root, "shop")
	require.NoError(b, err)
	h.database.Store(db)
	app := picloud.AppConfig{App: "shop", Key: key.NewDataKey("shop")}
	data, err := key.Unwrap("shop", app.Key)
	require.NoError(b, err)
	app.Secrets = map[string][]byte{"TOKEN": data.Seal("TOKEN", []byte("a-value-of-some-length"))}
	g := newGrants("f", picloud.Settings{Egress: []string{server.Listener.Addr().String()}}, app)
	for name, args := range map[string][]any{
		"secrets.get": {"TOKEN"}, "kv.get": {"k"}, "kv.set": {"k", "value", int64(0)}, "http.fetch": {server.URL, map[string]any{}},
	} {
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
