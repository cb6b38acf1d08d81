package invoke

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

// TestTheNodesFailuresAreInTheNodesLog: the cause is nowhere else, and a flood of
// failures does not cause a flood of lines.
func TestTheNodesFailuresAreInTheNodesLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		e := New(Options{Logger: slog.New(slog.NewTextHandler(&out, nil))})
		inv := picloud.Invocation{
			ID: "call-1", App: "shop", Function: "cart", Code: picloud.CodeExecutor, Error: "start executor shop: too many open files",
		}
		for range 100 {
			e.logFailure(&inv, "")
		}
		require.Equal(t, 1, strings.Count(out.String(), "\n"), out.String())
		for _, want := range []string{"too many open files", "PC1305", "app=shop", "function=cart", "request_id=call-1"} {
			require.Contains(t, out.String(), want)
		}
		<-time.After(time.Second) // of the bubble's clock
		e.logFailure(&inv, "")
		require.Equal(t, 2, strings.Count(out.String(), "\n"))
		require.Contains(t, out.String(), "more_before=99")
	})
}
