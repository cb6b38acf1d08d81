package risor

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/picloud/picloud/executor/hostcall"
	"github.com/picloud/picloud/executor/wire"
)

// node is a host that does what the agent's does, in memory.
type node struct {
	mu      sync.Mutex
	clock   int64 // of versions
	entries map[string]entry
	asked   []string
	slept   time.Duration
}

type entry struct {
	value   any
	version int64
	ttl     int64 // milliseconds; 0: for ever
}

func newNode() *node { return &node{entries: map[string]entry{}} }

func (n *node) Log(wire.Level, string, []byte) {}

func (n *node) Sleep(d time.Duration) error {
	n.slept += d
	return nil
}

func (n *node) Call(name string, args []byte) ([]byte, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	v, err := wire.Unmarshal(args)
	if err != nil {
		return nil, err
	}
	n.asked = append(n.asked, name)
	list := v.([]any)
	var answer any
	switch name {
	case "secrets.get":
		if list[0] != "API_KEY" {
			return nil, hostcall.Errorf("secret_not_found", "there is no such secret")
		}
		answer = "s3cret"
	case "http.fetch":
		answer, err = n.fetch(list[0].(string), list[1].(map[string]any))
	default:
		answer, err = n.kv(strings.TrimPrefix(name, "kv."), list)
	}
	if err != nil {
		return nil, err
	}
	return wire.Marshal(answer)
}

func (n *node) fetch(url string, o map[string]any) (any, error) {
	const site = "https://api.example.org"
	path, ok := strings.CutPrefix(url, site)
	if !ok {
		return nil, hostcall.Errorf("egress_denied", "the function may not call %s", url)
	}
	status, body := 404, []byte(nil)
	headers := []any{[]any{"Content-Type", "application/json"}, []any{"X-Multi", "a"}, []any{"x-multi", "b"}}
	switch method, _ := o["method"].(string); {
	case path == "/items/7" && (method == "" || method == "GET"):
		status, body = 200, []byte(`{"id":7,"name":"tea"}`)
	case path == "/items" && method == "POST":
		var item struct{ Name string }
		if json.Unmarshal(o["body"].([]byte), &item) == nil {
			status, body = 201, fmt.Appendf(nil, `{"id":7,"name":%q}`, item.Name)
		}
	case path == "/bytes":
		status, body = 200, []byte("\xff\xfe")
	case path == "/echo":
		status = 200
		body, _ = json.Marshal(o)
	}
	return map[string]any{"status": int64(status), "headers": headers, "body": body, "url": url}, nil
}

func (n *node) put(key string, value any, ttl int64) int64 {
	n.clock++
	n.entries[key] = entry{value, n.clock, ttl}
	return n.clock
}

func (n *node) kv(what string, args []any) (any, error) {
	if what == "list" {
		return n.list(args[0].(string), args[1].(int64), args[2].(string)), nil
	}
	key := args[0].(string)
	if key == "" || len(key) > 512 {
		return nil, hostcall.Errorf("kv_invalid_key", "a key is 1 to 512 bytes")
	}
	e, found := n.entries[key]
	switch what {
	case "get":
		if !found {
			return nil, nil
		}
		return map[string]any{"value": e.value, "version": e.version}, nil
	case "set":
		return n.put(key, args[1], args[2].(int64)), nil
	case "cas":
		if e.version != args[1].(int64) {
			return int64(0), nil
		}
		return n.put(key, args[2], args[3].(int64)), nil
	case "incr":
		sum, ok := e.value.(int64)
		if found && !ok {
			return nil, hostcall.Errorf("kv_not_a_number", "the value is not a number")
		}
		ttl := e.ttl
		if !found {
			ttl = args[2].(int64)
		}
		sum += args[1].(int64)
		n.put(key, sum, ttl)
		return sum, nil
	case "delete":
		if version := args[1].(int64); !found || version != 0 && version != e.version {
			return false, nil
		}
		delete(n.entries, key)
		return true, nil
	}
	return nil, fmt.Errorf("there is no kv.%s", what)
}

func (n *node) list(prefix string, limit int64, cursor string) any {
	var keys []string
	behind, _ := base64.RawURLEncoding.DecodeString(cursor)
	for key := range n.entries {
		if strings.HasPrefix(key, prefix) && key > string(behind) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	next := ""
	if int64(len(keys)) > limit {
		keys = keys[:limit]
		next = base64.RawURLEncoding.EncodeToString([]byte(keys[limit-1]))
	}
	items := []any{}
	for _, key := range keys {
		items = append(items, map[string]any{"key": key, "value": n.entries[key].value, "version": n.entries[key].version})
	}
	return map[string]any{"items": items, "next": next}
}
