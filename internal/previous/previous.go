// Package previous is for tests: it holds what nodes of the version before this one write and
// send against the code of today. Nodes of both work side by side while a cluster is upgraded,
// so that each must understand the other.
//
// What the version before has written is in testdata/previous of a package. A release makes
// these files anew, from the code that is released:
//
//	PICLOUD_TEST_RELEASE=1 go test -run TheVersionBefore ./cluster/... ./agent/...
package previous

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Read returns a file of the version before; write makes it when a release is made.
func Read(t *testing.T, name string, write func() []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", "previous", name)
	if os.Getenv("PICLOUD_TEST_RELEASE") != "" {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755)) //nolint:gosec // part of the sources
		require.NoError(t, os.WriteFile(path, write(), 0o644))     //nolint:gosec // part of the sources
	}
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	return raw
}

// JSON checks a message in JSON that means message. Today's code reads what the version before
// has written, and the same with a member that a later version may have added. What today's
// code writes has all that the version before knows, of the same types: that one leaves out
// what it does not know.
func JSON[T any](t *testing.T, name string, message T, decode func(raw []byte) (T, error)) {
	t.Helper()
	today, err := json.Marshal(message)
	require.NoError(t, err)
	before := Read(t, name, func() []byte { return append(today, '\n') })
	read, err := decode(before)
	require.NoError(t, err, name)
	require.Equal(t, message, read, name)

	members := map[string]json.RawMessage{}
	require.NoError(t, json.Unmarshal(before, &members), name)
	members["of_a_later_version"] = json.RawMessage(`{"a":[1]}`)
	later, err := json.Marshal(members)
	require.NoError(t, err)
	read, err = decode(later)
	require.NoError(t, err, name)
	require.Equal(t, message, read, name)

	var known, written any
	require.NoError(t, json.Unmarshal(before, &known))
	require.NoError(t, json.Unmarshal(today, &written))
	require.NoError(t, Covers(known, written), name)
}

// Covers reports what a value of the version before has that one of today lacks, or has of
// another type.
func Covers(before, today any) error {
	if fmt.Sprintf("%T", before) != fmt.Sprintf("%T", today) {
		return fmt.Errorf("it was a %T, and is a %T", before, today)
	}
	switch known := before.(type) {
	case map[string]any:
		for name, v := range known {
			now, ok := today.(map[string]any)[name]
			if !ok {
				return fmt.Errorf("%s is missing", name)
			}
			if err := Covers(v, now); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	case map[any]any:
		for name, v := range known {
			now, ok := today.(map[any]any)[name]
			if !ok {
				return fmt.Errorf("%v is missing", name)
			}
			if err := Covers(v, now); err != nil {
				return fmt.Errorf("%v: %w", name, err)
			}
		}
	case []any:
		now := today.([]any) //nolint:errcheck // the types are the same
		if len(known) != len(now) {
			return fmt.Errorf("it had %d elements, and has %d", len(known), len(now))
		}
		for i := range known {
			if err := Covers(known[i], now[i]); err != nil {
				return fmt.Errorf("%d: %w", i, err)
			}
		}
	}
	return nil
}
