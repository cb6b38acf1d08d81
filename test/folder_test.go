package test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAnyDataFolderWill runs a node with its own database in folders whose names some
// program on the way could take for something else: it serves, stops and starts again.
func TestAnyDataFolderWill(t *testing.T) {
	for _, name := range []string{
		`it's "my" data, {env.HOME} $HOME %41 \n \\ ü #[1] a=b ;host=x@y:z?c=d&e`,
		strings.Repeat("long", 50) + `/with "quotes", and commas`,
		"line\nbreak",
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			n.data = filepath.Join(n.dir, name, "data")
			n.env = append(n.env, "PICLOUD_DATA="+n.data)
			n.start().awaitDatabase()
			n.deploy("count", `function handle(req) { return kv.incr("n") }`)
			status, body := n.call("count")
			require.Equal(t, http.StatusOK, status, body)
			n.terminate("in such a folder")
			n.start().awaitDatabase()
			status, body = n.call("count")
			require.Equal(t, http.StatusOK, status, body)
			require.Equal(t, "2", strings.TrimSpace(body))
		})
	}
}
