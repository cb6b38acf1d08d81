package agent

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
	"github.com/picloud/picloud/internal/testdb"
)

// TestAFrozenDeployIsOvertaken: the manager is frozen in the middle of a deploy, and another
// node gets the leadership meanwhile. The deploy ends in PC1308, nothing of it is in the
// database, and the caller may send it again. The node ceases to manage, and goes on serving.
func TestAFrozenDeployIsOvertaken(t *testing.T) {
	dsn := testdb.DSN(t)
	way, frozen := testdb.Freezing(t, dsn, "frozen deploy")
	a := startAgent(t, testdb.Dir(t), way, onPorts(t)).ready()
	a.deploy("hello", helloSource)
	require.Equal(t, []string{"manager", "housekeeping"}, a.leading.Names())
	perform := func(epoch int64, want picloud.Code) {
		t.Helper()
		for _, d := range a.duties() {
			if err := d.Do(t.Context(), epoch); want == "" {
				require.NoError(t, err, d.Name)
			} else {
				require.Equal(t, want, picloud.CodeOf(err), d.Name)
			}
		}
	}
	perform(postgres.Alone, "")
	a.invites(1)
	require.Eventually(t, func() bool { return a.election.epoch.Load() > 0 }, 20*time.Second, time.Millisecond)
	conn, other := testdb.Connect(t, dsn), testdb.Open(t, dsn)
	state := func() (text string) {
		require.NoError(t, conn.QueryRow(t.Context(), `
			SELECT concat_ws(' ', (SELECT rev FROM catalog_head), (SELECT count(*) FROM version), (SELECT count(*) FROM code), (SELECT count(*) FROM deployment))`).Scan(&text))
		return text
	}
	perform(a.election.epoch.Load(), "")
	before, epoch := state(), a.election.epoch.Load()

	var wg sync.WaitGroup
	defer wg.Wait()
	var next atomic.Int64
	wg.Go(func() {
		select {
		case <-frozen:
		case <-time.After(20 * time.Second):
			t.Error("the deploy was not frozen")
			return
		}
		held, err := other.Leadership().Show(t.Context())
		if err != nil {
			t.Errorf("look at the leadership: %v", err)
			return
		}
		got, err := other.Leadership().Acquire(t.Context(), held.Cluster, held.Term+1, "6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0aff")
		if err != nil {
			t.Errorf("acquire: %v", err)
		}
		next.Store(got)
	})
	resp, body := a.do(http.MethodPut, a.control.URL+"/api/v1/apps/default/functions/hello/code?deploy=true", `// frozen deploy
function handle(req) { return {hello: "frozen"} }`, "Authorization", "Bearer "+a.token)
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode, body)
	require.Contains(t, body, string(picloud.CodeDeposed))
	require.Equal(t, "true", resp.Header.Get(picloud.NotSentHeader))
	require.Equal(t, "2", resp.Header.Get("Retry-After"))
	wg.Wait()
	require.Equal(t, epoch+1, next.Load())
	perform(epoch, picloud.CodeDeposed)
	require.Equal(t, before, state())
	require.Eventually(t, func() bool { return !a.manages() }, 5*time.Second, time.Millisecond, "the database told it")
	_, body = a.call("hello")
	require.JSONEq(t, `{"hello":"world"}`, body)
}
