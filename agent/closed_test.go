package agent

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

// picloud status prints the whole error: it says each thing once.
func TestWhyThereIsNoDatabaseIsSaidOnce(t *testing.T) {
	d := &database{outcast: func() error { return nil }}
	require.EqualError(t, d.closed(), "use database: the node has not reached it since it started")

	d.waiting = fmt.Errorf("start postgres: %w", &picloud.Error{Op: "start managed PostgreSQL", Detail: "it ended while it started", Hint: "free some disk space", Err: errors.New("exit status 1")})
	err := d.closed()
	require.EqualError(t, err, "use database: it ended while it started: exit status 1")
	require.Equal(t, picloud.CodeDatabaseDown, picloud.CodeOf(err))
}
