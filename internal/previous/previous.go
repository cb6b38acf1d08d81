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
	"reflect"
	"testing"
)

// Read returns a file of the version before; write makes it when a release is made.
func Read(t *testing.T, name string, write func() []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", "previous", name)
	if os.Getenv("PICLOUD_TEST_RELEASE") != "" {
		check(t, name, os.MkdirAll(filepath.Dir(path), 0o755))
		check(t, name, os.WriteFile(path, write(), 0o644))
	}
	raw, err := os.ReadFile(path)
	check(t, name, err)
	return raw
}

func check(t *testing.T, name string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// JSON checks a message in JSON that means message. Today's code reads what the version before
// has written, and the same with a member that a later version may have added. What today's
// code writes has all that the version before knows, of the same types: that one leaves out
// what it does not know.
func JSON[T any](t *testing.T, name string, message T, decode func(raw []byte) (T, error)) {
	t.Helper()
	today, err := json.Marshal(message)
	check(t, name, err)
	before := Read(t, name, func() []byte { return append(today, '\n') })
	members := map[string]json.RawMessage{}
	check(t, name, json.Unmarshal(before, &members))
	members["of_a_later_version"] = json.RawMessage(`{"a":[1]}`)
	later, err := json.Marshal(members)
	check(t, name, err)
	for _, raw := range [][]byte{before, later} {
		read, err := decode(raw)
		check(t, name, err)
		if !reflect.DeepEqual(message, read) {
			t.Fatalf("%s: %s is read as %+v, and means %+v", name, raw, read, message)
		}
	}
	var known, written any
	check(t, name, json.Unmarshal(before, &known))
	check(t, name, json.Unmarshal(today, &written))
	check(t, name, Covers(known, written))
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
		now := today.([]any)
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
