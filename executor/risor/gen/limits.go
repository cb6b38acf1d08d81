package main

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/picloud/picloud"
)

// limit documents a field of picloud.Limits. A test compares with the code.
type limit struct {
	field     string // its JSON name
	doc       string
	low, high int64 // in the unit of the field
	beyond    string
}

// documented are the limits in the order of the table.
var documented = []limit{
	{"timeout", "wall time of a call, waiting not counted", int64(10 * time.Millisecond), int64(15 * time.Minute), beyond(picloud.CodeFunctionTimeout) + "; the process is killed if it does not stop"},
	{"memory", "heap of one process of the app; the largest of its functions' counts", 16 << 20, 2 << 30, beyond(picloud.CodeFunctionMemory) + "; the app's next call gets a fresh process"},
	{"concurrency", "calls at once, over all nodes; the default and what a node sets: on each node", 1, 1000, "further ones wait"},
	{"queue", "calls that wait on a node", 1, 10_000, beyond(picloud.CodeQueueFull) + " with `Retry-After`"},
	{"request_body", "", 1, 64 << 20, beyond(picloud.CodeRequestTooLarge)},
	{"response_body", "", 1, 64 << 20, beyond(picloud.CodeResponseTooLarge)},
	{"log_bytes", "of one call", 1, 1 << 20, "the rest is dropped"},
	{"host_calls", "of one call: `kv`, `secrets` and `http` together", 1, 10_000, "error `host_call_limit` in the script"},
	{"outbound_calls", "of one call: requests of `http`, redirects included", 1, 1000, "error `outbound_call_limit` in the script"},
	{"max_stale", "age of the node's copy of the catalog while it is [cut off](cluster.md#how-old-a-copy-may-be); none: however old", int64(2 * time.Minute), int64(365 * 24 * time.Hour), beyond(picloud.CodeStale) + " with `Retry-After`"},
}

// beyond is the answer that a code gives.
func beyond(code picloud.Code) string {
	for _, e := range picloud.Catalogue {
		if e.Code == code {
			return fmt.Sprintf("%d `%s`", e.Status, code)
		}
	}
	return "`" + string(code) + "`"
}

// limits is the table of the limits that can be set.
func limits() string {
	var b strings.Builder
	b.WriteString("\n| Limit | Default | Range | Beyond it |\n|---|---|---|---|\n")
	defaults := reflect.ValueOf(picloud.DefaultLimits())
	for _, l := range documented {
		name := "`" + l.field + "`"
		if l.doc != "" {
			name += ": " + l.doc
		}
		v := defaults.FieldByIndex(fieldNamed(l.field).Index)
		fmt.Fprintf(&b, "| %s | %s | %s to %s | %s |\n", name, amount(v.Type(), v.Int()), amount(v.Type(), l.low), amount(v.Type(), l.high), l.beyond)
	}
	return b.String() + "\n"
}

// fieldNamed returns the field of picloud.Limits with that JSON name.
func fieldNamed(name string) reflect.StructField {
	t := reflect.TypeFor[picloud.Limits]()
	for field := range t.Fields() {
		if tag, _, _ := strings.Cut(field.Tag.Get("json"), ","); tag == name {
			return field
		}
	}
	panic("picloud.Limits has no field " + name)
}

// amount writes a value with its unit.
func amount(t reflect.Type, n int64) string {
	switch t {
	case reflect.TypeFor[picloud.Duration]():
		d := time.Duration(n)
		switch {
		case d == 0:
			return "none"
		case d%(24*time.Hour) == 0:
			return fmt.Sprintf("%d days", d/(24*time.Hour))
		case d%time.Minute == 0:
			return fmt.Sprintf("%d min", d/time.Minute)
		case d%time.Second == 0:
			return fmt.Sprintf("%d s", d/time.Second)
		}
		return fmt.Sprintf("%d ms", d/time.Millisecond)
	case reflect.TypeFor[picloud.Size]():
		unit := 0
		for n >= 1024 && n%1024 == 0 && unit < 3 {
			n, unit = n/1024, unit+1
		}
		return fmt.Sprintf("%d %s", n, []string{"B", "KiB", "MiB", "GiB"}[unit])
	}
	if n >= 1000 {
		return fmt.Sprintf("%d,%03d", n/1000, n%1000)
	}
	return fmt.Sprint(n)
}
