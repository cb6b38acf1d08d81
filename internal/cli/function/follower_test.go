package function

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/internal/cli/command"
	"github.com/picloud/picloud/internal/cli/output"
	"github.com/picloud/picloud/manager/api/client"
)

// TestALogGoesOnWhereItBrokeOff: "back from now" counts from the first attempt. A later one
// would leave out what was logged while the connection was broken.
func TestALogGoesOnWhereItBrokeOff(t *testing.T) {
	var asked []string
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Query().Get("after")+"|"+r.URL.Query().Get("since"))
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "id: p%d\nevent: log\ndata: {\"level\":\"info\",\"message\":\"line\"}\n\n", len(asked))
	}))
	defer node.Close()
	api, err := client.New(node.URL, "pct_x")
	require.NoError(t, err)
	since, yes := "1m", true
	f := follower{
		c:    commands{&command.Base{Printer: &output.Printer{Stdout: io.Discard, Stderr: io.Discard}}},
		node: &command.Node{Client: api}, app: "shop",
		params: client.GetAppLogsParams{Follow: &yes, Since: &since},
	}
	for range 2 {
		printed, err := f.stream(t.Context())
		require.True(t, printed, "%v", err)
	}
	require.Equal(t, []string{"|1m", "p1|"}, asked)
}
