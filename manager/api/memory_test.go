package api

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/internal/budget"
)

// TestLargeCallsAreReserved: without memory large bodies and answers are refused before
// they are read, small calls go on, and nothing stays taken.
func TestLargeCallsAreReserved(t *testing.T) {
	memory := budget.New(10 << 20)
	n := newNode(t, func(o *Options) { o.Memory = memory })
	n.app("shop")
	large := strings.Repeat("x", 200_000)
	const key = "/api/v1/apps/shop/kv/k"
	require.Equal(t, 200, n.do("PUT", key, n.admin, large).status)
	require.Equal(t, large, n.do("GET", key, n.admin, "").body)
	require.Zero(t, memory.Used())
	require.True(t, memory.Take(10<<20))
	for _, call := range [][3]string{{"PUT", key, large}, {"GET", key, ""}, {"GET", "/api/v1/apps/shop/kv", ""}, {"GET", "/api/v1/apps/shop/logs?calls=true&tail=1000", ""}, {"GET", "/api/v1/apps/shop/logs?follow=true&calls=true&tail=1000", ""}} {
		r := n.do(call[0], call[1], n.admin, call[2])
		require.Equal(t, 503, r.status, call)
		require.Contains(t, r.body, "PC1306")
		require.NotEmpty(t, r.header.Get("Retry-After"))
	}
	require.Equal(t, 200, n.do("PUT", key, n.admin, "small").status, "small calls go on")
	require.Equal(t, 200, n.do("GET", "/api/v1/apps", n.admin, "").status)
	require.EqualValues(t, 10<<20, memory.Used())
}

// TestNetworks: one machine has one share of the sign-ins, whichever of its addresses it
// calls from.
func TestNetworks(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.7:1234": "192.0.2.7", "[::ffff:192.0.2.7]:1": "192.0.2.7", "[2001:db8:1:2:3::4]:99": "2001:db8:1:2::/64",
		"[2001:db8:1:2:ffff::]:99": "2001:db8:1:2::/64", "[fe80::1%eth0]:1": "fe80::/64", "@": "unknown", "": "unknown",
	} {
		require.Equal(t, want, networkOf(remote), remote)
	}
}
