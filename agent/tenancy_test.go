package agent

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/testdb"
)

// TestAnAppThatCameBackHasNothingOfTheFirst: a call that began in an app which
// was deleted ends with nothing of the app that has its name by then.
func TestAnAppThatCameBackHasNothingOfTheFirst(t *testing.T) {
	entered, leave := make(chan struct{}, 1), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-leave
	}))
	defer server.Close()
	a := startAgent(t, testdb.Dir(t), testdb.DSN(t)).ready()
	const source = `function ask(f) { return try { string(f()) } catch (e) { e.code } }
function handle(req) {
  let first = secrets.get("S")
  log.info("early " + first)
  let fetched = ask(() => http.get(req.query.get("url", "nothing")).status)
  log.info("late " + first)
  return " ".join([fetched, ask(() => kv.get("who")), ask(() => kv.set("left", 1)), ask(() => secrets.get("S"))])
}`
	begin := func(value string) {
		status, answer := a.api(http.MethodPut, "/apps/ten/functions/f/code?create=true&deploy=true&wait=all", source)
		require.Equal(t, http.StatusCreated, status, answer)
		a.setSecret("ten", "S", value)
		_, err := a.database.KV().Put(t.Context(), testAdmin, "ten", picloud.KVEntry{Key: "who", Value: []byte("\x63" + value[:3])}, picloud.MatchAny)
		require.NoError(t, err)
		f, err := a.database.Functions().UpdateSettings(t.Context(), testAdmin, "ten", "f", picloud.Settings{Egress: []string{"127.0.0.0/8"}}, 0)
		require.NoError(t, err)
		a.serves(f.Rev)
	}
	call := func(query string) string {
		_, body := a.do(http.MethodGet, a.functions.URL+"/fn/ten/f"+query, "")
		return body
	}
	begin("one-of-the-first")
	answer := make(chan string)
	go func() { answer <- call("?url=" + server.URL) }()
	select {
	case <-entered:
	case <-time.After(10 * time.Second):
		require.Fail(t, "the call did not begin")
	}
	status, text := a.api(http.MethodDelete, "/apps/ten", "")
	require.Equal(t, http.StatusNoContent, status, text)
	begin("two-of-the-second")
	close(leave)
	require.Equal(t, "cancelled cancelled cancelled cancelled", <-answer)
	require.Regexp(t, `^http_invalid_request two [0-9]+ two-of-the-second$`, call(""))
	entries, _, err := a.database.KV().List(t.Context(), testAdmin, "ten", "", picloud.Page{})
	require.NoError(t, err)
	require.Len(t, entries, 2, "who, and left of the second call only")
	lines, err := a.logs.Tail(t.Context(), picloud.LogQuery{App: "ten", Functions: []string{"f"}}, func(int64) error { return nil })
	require.NoError(t, err)
	messages := []string{}
	for _, line := range lines {
		var r picloud.LogRecord
		require.NoError(t, json.Unmarshal(line.JSON, &r))
		messages = append(messages, r.Message)
	}
	require.Equal(t, []string{"early [secret S]", "late [secret S]"}, messages, "those of the second")
}
