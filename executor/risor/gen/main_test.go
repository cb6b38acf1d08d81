package main

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor/risor/module"
	"github.com/picloud/picloud/internal/egress"
)

func TestPageIsFresh(t *testing.T) {
	have, err := os.ReadFile("../../../docs/functions.md")
	require.NoError(t, err)
	want, err := page(string(have))
	require.NoError(t, err)
	require.Equal(t, want, string(have), "run: go generate ./executor/risor")
}

func TestPageHoldsEverything(t *testing.T) {
	text := modules(module.Modules())
	for _, m := range module.Modules() {
		for _, f := range m.Functions {
			require.Equal(t, 1, strings.Count(text, "#### `"+f.Signature(m.Name)+"`"))
			for _, e := range f.Errors {
				require.Contains(t, text, "| `"+e.Code+"` |")
			}
		}
	}
	_, err := page("no sections")
	require.ErrorContains(t, err, "no section")
}

// What the node answers for requests to other servers is documented.
func TestPageHoldsTheCodesOfRequests(t *testing.T) {
	text := modules(module.Modules())
	for _, code := range egress.Codes {
		require.Contains(t, text, "| `"+code+"` |")
	}
	require.Contains(t, text, fmt.Sprintf("at most %d, default %d;", egress.MaxRedirects, egress.DefaultRedirects))
	require.Contains(t, text, fmt.Sprintf("default %d MiB, at most %d MiB", egress.DefaultBody>>20, egress.MaxBody>>20))
	require.Contains(t, text, fmt.Sprintf("default %d s and", egress.DefaultTimeout/time.Second))
}

// The limits are documented as the code has them.
func TestLimits(t *testing.T) {
	fields := reflect.TypeFor[picloud.Limits]()
	require.Len(t, documented, fields.NumField())
	for _, l := range documented {
		with := func(n int64) error {
			var limits picloud.Limits
			reflect.ValueOf(&limits).Elem().FieldByIndex(fieldNamed(l.field).Index).SetInt(n)
			return limits.Check()
		}
		below := l.low - 1
		if below == 0 {
			below = -1 // zero means the default
		}
		require.NoError(t, with(l.low), l.field)
		require.NoError(t, with(l.high), l.field)
		require.Error(t, with(below), l.field)
		require.Error(t, with(l.high+1), l.field)
	}
	table := limits()
	require.Contains(t, table, "| `timeout`: wall time of a call, waiting not counted | 10 s | 10 ms to 15 min | 504 `PC1204`")
	require.Contains(t, table, "| 64 MiB | 16 MiB to 2 GiB |")
	require.Contains(t, table, "| 32 | 1 to 1,000 |")
	require.Contains(t, table, "| 8 MiB | 1 B to 64 MiB |")
}
