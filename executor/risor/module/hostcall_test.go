package module

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"
	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/executor/hostcall"
	"github.com/picloud/picloud/executor/risor/data"
	"github.com/picloud/picloud/executor/wire"
)

// recorder is a host that remembers what it is asked.
type recorder struct {
	calls  []string
	answer any
	err    error
}

func (r *recorder) Log(wire.Level, string, []byte) {}

func (r *recorder) Call(name string, args []byte) ([]byte, error) {
	v, err := wire.Unmarshal(args)
	if err != nil {
		return nil, err
	}
	r.calls = append(r.calls, fmt.Sprintf("%s%v", name, v))
	if r.err != nil {
		return nil, r.err
	}
	return wire.Marshal(r.answer)
}

func (r *recorder) Sleep(time.Duration) error { return nil }

// kept is a value as the node keeps it.
func kept(v object.Object) []byte {
	e := &data.CBORWriter{Limit: hostcall.MaxArguments}
	e.Write(v)
	return e.Buf
}

func TestHostCalls(t *testing.T) {
	host := &recorder{answer: map[string]any{"n": int64(1), "l": []any{"x", 1.5, true, nil, []byte("b")}}}
	call := &Access{Host: host}
	v, err := hostCall(call, "kv.get", hostcall.Set{Key: "key", Value: kept(fromHost([]any{int64(-5), []byte("b")}))})
	require.NoError(t, err)
	require.Equal(t, `{"l": ["x", 1.5, true, null, bytes("b")], "n": 1}`, v.Inspect()) //nolint:testifylint // the text is not JSON: it has bytes
	require.Equal(t, []string{"kv.get[key [-5 [98]] 0]"}, host.calls)

	host.err = hostcall.Errorf("kv_quota", "full")
	_, err = hostCall(call, "kv.set", hostcall.Set{Value: kept(object.Nil)})
	require.Equal(t, host.err, err)

	wrong := func(v object.Object) error {
		a := &arguments{values: []object.Object{v}}
		a.encoded("kv.set", 0)
		_, err := a.ask("kv.set", hostcall.Set{})
		return err
	}
	require.ErrorContains(t, wrong(environment()["len"]()), "kv.set: an argument is not data")
	require.ErrorContains(t, wrong(fromHost(strings.Repeat("x", hostcall.MaxArguments+1))), "more than")
	_, err = hostCall(call, "kv.get", hostcall.Get{Key: "\xff"})
	require.ErrorContains(t, err, "kv.get: an argument is not data")
	_, err = hostCall(call, "http.fetch", hostcall.Fetch{Body: make([]byte, hostcall.MaxArguments)})
	require.ErrorContains(t, err, "more than")
	require.Len(t, host.calls, 2, "the node is not asked")
}

// fromHost converts what wire.Unmarshal returns.
func fromHost(v any) object.Object {
	switch v := v.(type) {
	case bool:
		return object.NewBool(v)
	case int64:
		return object.NewInt(v)
	case float64:
		return object.NewFloat(v)
	case string:
		return object.NewString(v)
	case []byte:
		return object.NewBytes(v)
	case []any:
		items := make([]object.Object, len(v))
		for i, item := range v {
			items[i] = fromHost(item)
		}
		return object.NewList(items)
	case map[string]any:
		items := make(map[string]object.Object, len(v))
		for k, item := range v {
			items[k] = fromHost(item)
		}
		return object.NewMap(items)
	}
	return object.Nil
}
