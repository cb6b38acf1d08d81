package api

import (
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/share"
)

// A database that hangs holds up the lookups of tokens. Whoever waits behind them is told
// so soon, however many wait.
func TestACallWaitsNotLongForItsTurnToSignIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{signIns: share.New(share.Options{Total: 1, Each: []int{1}, Waiting: 256})}
		r := httptest.NewRequest("GET", "/api/v1/apps", nil)
		r.Header.Set("Authorization", "Bearer pct_x")
		_, free := s.signIns.Take("192.0.2.1") // httptest's address
		require.True(t, free)

		began := time.Now()
		err := s.signIn(httptest.NewRecorder(), r)
		require.Equal(t, picloud.CodeDatabaseDown, picloud.CodeOf(err))
		require.Equal(t, signInPatience, time.Since(began))
	})
}
