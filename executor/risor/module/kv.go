package module

import (
	"time"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"

	"github.com/picloud/picloud/executor/hostcall"
)

// The errors of the key-value store.
var (
	kvUnavailable = Fault{hostcall.CodeKVUnavailable, "the database cannot be reached"}
	kvInvalidKey  = Fault{hostcall.CodeKVInvalidKey, "the key is not 1 to 512 bytes of UTF-8 without NUL"}
	kvFull        = Fault{hostcall.CodeKVQuota, "the app's store is full; `picloud app set` raises its limits"}
	kvWrites      = []Fault{
		kvInvalidKey,
		{hostcall.CodeKVInvalidValue, "the value is not data (null, bool, number, string, bytes, list or map of these), or it is nested too deep"},
		{hostcall.CodeKVTooLarge, "the value has more than 256 KiB"},
		{hostcall.CodeKVQuota, "the app's store is full; `picloud app set` raises its limits"},
		kvUnavailable,
	}
)

const ttlDoc = " Options: `ttl`, how long the key lives, as a duration (`\"1h\"`, `\"7d\"`) or in seconds (default: for ever)."

func kvModule() Module {
	key := Arg{Name: "key", Type: "string"}
	options := Arg{Name: "options", Type: "map", Optional: true}
	return Module{
		Name: "kv",
		Doc: "The app's key-value store: shared by its functions, kept in the database, the same on every node. Values are data and keep their types. " +
			"Each write gives the key a new version, which no earlier state of the key had.",
		Functions: []Function{
			{
				Name: "get", Args: []Arg{key, {Name: "default", Type: "any", Optional: true}}, Returns: "any",
				Doc:    "The value of a key, or the default, or null.",
				Errors: []Fault{kvInvalidKey, kvUnavailable},
				Example: example(`kv.set("user:7", {name: "Ada"})`, `kv.get("user:7").name     // → "Ada"`, `kv.get("user:8")          // → null`,
					`kv.get("user:8", "none")  // → "none"`),
				call: kvGet,
			},
			{
				Name: "entry", Args: []Arg{key}, Returns: "map|null",
				Doc:     "The value of a key and its version, for `kv.cas`; null when the key does not exist.",
				Errors:  []Fault{kvInvalidKey, kvUnavailable},
				Example: example(`let version = kv.set("light", "on")`, `kv.entry("light").value                // → "on"`, `kv.entry("light").version == version   // → true`, `kv.entry("nothing")                    // → null`),
				call: func(a *arguments) (object.Object, error) {
					return a.ask(hostcall.KVGet, hostcall.Get{Key: a.text(0)})
				},
			},
			{
				Name: "set", Args: []Arg{key, {Name: "value", Type: "any"}, options}, Returns: "int",
				Doc:     "Write a key, whether it exists or not. Returns the new version." + ttlDoc,
				Errors:  kvWrites,
				Example: example(`kv.set("session:1", {user: 7}, {ttl: "30m"}) > 0   // → true`, `kv.set("", 1)                                      // → error kv_invalid_key`),
				call: func(a *arguments) (object.Object, error) {
					return a.ask(hostcall.KVSet, hostcall.Set{Key: a.text(0), Value: a.encoded(hostcall.KVSet, 1), TTL: a.ttl(2)})
				},
			},
			{
				Name: "cas", Args: []Arg{key, {Name: "version", Type: "int"}, {Name: "value", Type: "any"}, options}, Returns: "int|bool",
				Doc: "Compare and set: write a key only if it still has the version that you read; version 0 means that it must not exist. " +
					"Returns the new version, or false when another call has written the key since: read it again, and try again." + ttlDoc,
				Errors: kvWrites,
				Example: example(`kv.cas("lock", 0, "mine", {ttl: "10s"}) > 0   // → true`, `kv.cas("lock", 0, "yours")                    // → false`,
					`let e = kv.entry("lock")`, `kv.cas("lock", e.version, "still mine") > 0   // → true`),
				call: kvCAS,
			},
			{
				Name: "incr", Args: []Arg{key, {Name: "by", Type: "int", Optional: true}, options}, Returns: "int",
				Doc: "Add to a whole number, by default 1, in one atomic step. Returns the sum. A missing key counts as 0; " +
					"the `ttl` of the options counts from when the key is made.",
				Errors: []Fault{{hostcall.CodeKVNotANumber, "the value of the key is not an int"}, {hostcall.CodeKVOverflow, "the sum does not fit into 64 bits"}, kvInvalidKey, kvFull, kvUnavailable},
				Example: example(`kv.incr("hits")                     // → 1`, `kv.incr("hits", 10)                 // → 11`, `kv.incr("hits", -1, {ttl: "1d"})    // → 10`,
					`kv.set("name", "Ada")`, `kv.incr("name")                     // → error kv_not_a_number`),
				call: func(a *arguments) (object.Object, error) {
					return a.ask(hostcall.KVIncr, hostcall.Incr{Key: a.text(0), By: a.int(1, 1), TTL: a.ttl(2)})
				},
			},
			{
				Name: "delete", Args: []Arg{key, {Name: "version", Type: "int", Optional: true}}, Returns: "bool",
				Doc:     "Delete a key, or only that version of it. Returns whether the key was deleted.",
				Errors:  []Fault{kvInvalidKey, kvUnavailable},
				Example: example(`kv.set("old", 1)`, `kv.delete("old")   // → true`, `kv.delete("old")   // → false`),
				call: func(a *arguments) (object.Object, error) {
					version := a.int(1, 0)
					if version < 0 {
						return nil, a.wrong(1, "a version that kv.entry or a write returned")
					}
					return a.ask(hostcall.KVDelete, hostcall.Delete{Key: a.text(0), Version: version})
				},
			},
			{
				Name: "list", Args: []Arg{options}, Returns: "map",
				Doc: "Keys in their order (by bytes), with values and versions: `{items: [{key, value, version}], next}`. Options: `prefix` that the keys begin with (default: all), " +
					"`limit` (1 to 1,000, default 100), `cursor`, the `next` of the call before; `next` is \"\" at the end. A page ends at 1 MiB, so that it may have fewer.",
				Errors: []Fault{kvInvalidKey, kvUnavailable},
				Example: example(`["a", "b", "c"].each(n => { kv.set("todo:" + n, n.to_upper()) })`, `let page = kv.list({prefix: "todo:", limit: 2})`,
					`page.items.map(i => i.key)                                                  // → ["todo:a","todo:b"]`,
					`kv.list({prefix: "todo:", cursor: page.next}).items.map(i => i.value)       // → ["C"]`),
				call: kvList,
			},
		},
	}
}

// ttl reads the option of the argument at i.
func (a *arguments) ttl(i int) time.Duration { return a.options(i, "ttl").duration("ttl") }

func kvGet(a *arguments) (object.Object, error) {
	entry, err := a.ask(hostcall.KVGet, hostcall.Get{Key: a.text(0)})
	switch {
	case err != nil:
		return nil, err
	case entry != object.Nil:
		return item(entry, "value"), nil
	case len(a.values) == 2:
		return a.values[1], nil
	}
	return object.Nil, nil
}

func kvCAS(a *arguments) (object.Object, error) {
	version := a.int(1, 0)
	if version < 0 || !a.has(1) {
		return nil, a.wrong(1, "a version that kv.entry or a write returned")
	}
	v, err := a.ask(hostcall.KVCAS, hostcall.CAS{Key: a.text(0), Version: version, Value: a.encoded(hostcall.KVCAS, 2), TTL: a.ttl(3)})
	if n, ok := v.(*object.Int); err == nil && ok && n.Value() == 0 {
		return object.False, nil
	}
	return v, err
}

func kvList(a *arguments) (object.Object, error) {
	o := a.options(0, "prefix", "limit", "cursor")
	return a.ask(hostcall.KVList, hostcall.List{
		Prefix: o.text("prefix", ""), Limit: int(o.int("limit", 100, 1, hostcall.MaxListed)), Cursor: o.text("cursor", ""),
	})
}
