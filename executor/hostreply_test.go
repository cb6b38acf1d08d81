package executor

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAnswersOnTheirWayAreBounded: a worker that asks and never reads holds no
// more of the node's memory than this.
func TestAnswersOnTheirWayAreBounded(t *testing.T) {
	var l hostLoad
	const large = 12 << 20
	kept := 0
	for ; l.keep(large); kept++ {
		require.LessOrEqual(t, (kept+1)*large, hostReplies)
	}
	require.Equal(t, hostReplies/large, kept)
	require.True(t, l.keep(hostSmallReply), "small ones always go")
	l.sent(hostSmallReply)
	l.sent(large)
	require.True(t, l.keep(large))
	require.False(t, l.keep(large))
}
