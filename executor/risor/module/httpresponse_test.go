package module

import (
	"testing"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"
	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/executor/risor/data"
	"github.com/picloud/picloud/executor/wire"
)

// Nothing of an answer is decoded before it is read.
func TestResponseIsLazy(t *testing.T) {
	answer, err := wire.Marshal(map[string]any{"status": int64(200), "headers": []any{[]any{"a", "b"}}, "body": []byte("not json")})
	require.NoError(t, err)
	v, err := data.ReadCBOR(answer)
	require.NoError(t, err)
	r := newResponse(v)
	require.EqualValues(t, 200, r.status)
	require.Nil(t, r.headers)
	body := r.body().Value()
	body[0] = 'N' // the body is the answer's memory, not a copy
	require.Contains(t, string(answer), "Not json")
	require.Empty(t, newResponse(object.Nil).header().AsMap().Value())
}
