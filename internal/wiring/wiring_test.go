package wiring

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheck(t *testing.T) {
	type stores struct{ Reader io.Reader }
	type options struct {
		Name   string
		Stores stores
		Ready  func()
		Limit  int
		Logger *int `default:"discarded"`
	}
	o := options{}
	require.EqualError(t, Check("new thing", o), "new thing: Options.Stores.Reader is nil")
	o.Stores.Reader = io.LimitReader(nil, 0)
	require.EqualError(t, Check("new thing", o), "new thing: Options.Ready is nil")
	o.Ready = func() {}
	require.NoError(t, Check("new thing", o))
}
