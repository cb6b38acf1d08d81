package api

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

func TestInvocations(t *testing.T) {
	s := newShop(t)
	s.agent.runs = []picloud.Invocation{
		{ID: "i3", App: "shop", Function: "cart"}, {ID: "i2", App: "shop", Function: "hello"}, {ID: "i1", App: "blog", Function: "hello"},
	}
	ids := func(query string) (out []string) {
		r := s.do("GET", "/api/v1/invocations"+query, s.viewer, "")
		require.Equal(t, 200, r.status, r.body)
		var l InvocationList
		r.json(t, &l)
		for _, i := range l.Items {
			out = append(out, i.ID)
		}
		return out
	}
	require.Equal(t, []string{"i3", "i2"}, ids("?app=shop"))
	require.Equal(t, []string{"i3"}, ids("?app=shop&limit=1"))
	require.Equal(t, []string{"i2"}, ids("?app=shop&function=hello"))
	require.Equal(t, 404, s.do("GET", "/api/v1/invocations?app=shop&function=none", s.viewer, "").status)

	require.Equal(t, 200, s.do("GET", "/api/v1/invocations/i2", s.viewer, "").status)
	foreign := s.do("GET", "/api/v1/invocations/i1", s.viewer, "")
	absent := s.do("GET", "/api/v1/invocations/i9", s.viewer, "")
	require.Equal(t, 404, foreign.status)
	require.Equal(t, 404, absent.status)
	require.Equal(t, foreign.problem(t).Hint, absent.problem(t).Hint, "a foreign call looks like none")
}

func TestNodes(t *testing.T) {
	s := newShop(t)
	for _, name := range []string{"pi-2", "pi-1"} {
		err := s.db.Nodes().Report(t.Context(), picloud.Node{ID: "00000000-0000-0000-0000-00000000000" + name[3:], Name: name, Version: "test"})
		require.NoError(t, err)
	}
	var l NodeList
	s.do("GET", "/api/v1/nodes", s.stranger, "").json(t, &l)
	require.Len(t, l.Items, 2)
	require.Equal(t, "pi-1", l.Items[0].Name)
	require.Equal(t, 200, s.do("GET", "/api/v1/nodes/pi-2", s.stranger, "").status)
	require.Equal(t, 404, s.do("GET", "/api/v1/nodes/pi-3", s.stranger, "").status)
}
