package agent

import (
	"net/http"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/internal/testdb"
)

// TestChangesHoldWhenTheyAreAnswered: who changes something through the API and
// then calls the function meets the new state, at once.
func TestChangesHoldWhenTheyAreAnswered(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), testdb.DSN(t)).ready()
	a.deploy("f", `function handle(req) { return env.get("A", "none") + try { secrets.get("S") } catch e { e.code } }`)
	_, body := a.call("f")
	require.Equal(t, "nonesecret_not_found", body)
	for i := range 20 {
		value := strconv.Itoa(i)
		status, answer := a.api(http.MethodPut, "/apps/default/env", `{"A":"env-`+value+`"}`)
		require.Equal(t, http.StatusOK, status, answer)
		status, answer = a.api(http.MethodPut, "/apps/default/secrets/S", "-secret-"+value)
		require.Equal(t, http.StatusNoContent, status, answer)
		_, body := a.call("f")
		require.Equal(t, "env-"+value+"-secret-"+value, body)
	}
}
