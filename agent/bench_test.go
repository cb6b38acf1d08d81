package agent

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/agent/gateway"
	"github.com/picloud/picloud/internal/testdb"
	"github.com/picloud/picloud/internal/testworker"
)

// sink is a ResponseWriter that throws away what is written.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) WriteHeader(status int)      { s.status = status }

// BenchmarkCall is what a call costs a node: its way through the gateway to an executor and
// back.
func BenchmarkCall(b *testing.B) {
	a, err := New(Options{DataDir: testdb.Dir(b), NodeName: "pi-1", DatabaseURL: testdb.DSN(b), WorkerPath: testworker.Path(b), Version: "test"})
	require.NoError(b, err)
	require.NoError(b, a.Start())
	b.Cleanup(a.Stop)
	require.Eventually(b, func() bool { return a.database.closed() == nil }, 30*time.Second, time.Millisecond)
	p, err := a.database.Versions().Publish(b.Context(), boss, picloud.Publication{
		App: "default", Function: "hello", Source: []byte(`function handle(req) { return "hello" }`), Create: true, Deploy: true,
	})
	require.NoError(b, err)
	a.database.syncer.Wake()
	require.Eventually(b, func() bool { return a.replica.Durable() >= p.Deployment.Rev }, 30*time.Second, time.Millisecond)
	caller := gateway.Caller{IP: "192.0.2.7"}
	b.ReportAllocs()
	for b.Loop() {
		w := sink{header: http.Header{}}
		r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/fn/default/hello", nil)
		if !a.ServeFunction(&w, r, &caller) || w.status != http.StatusOK {
			b.Fatal(w.status)
		}
	}
}
