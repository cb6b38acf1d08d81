package examples_test

import (
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"github.com/picloud/picloud/executor/hostcall"
	"github.com/picloud/picloud/executor/wire"
)

// host is a node in memory: it keeps what is logged and stored, knows secrets
// and variables, and answers requests to other servers from a list.
type host struct {
	messages []string
	secrets  map[string]string
	env      map[string]any
	pages    map[string]page // by method and URL
	sent     []string        // method, URL and body of each request
	store    map[string]stored
	clock    int64 // of versions
	asked    int
}

// page is the answer of another server.
type page struct {
	status int // default 200
	header string
	body   string
	code   string // of an error instead
}

type stored struct {
	value   any
	version int64
}

func (h *host) Log(_ wire.Level, message string, _ []byte) { h.messages = append(h.messages, message) }

func (h *host) Sleep(time.Duration) error { return nil }

func (h *host) Call(name string, args []byte) ([]byte, error) {
	if h.asked++; h.asked > 50 {
		return nil, &hostcall.Error{Code: "host_call_limit", Message: "too many host calls"}
	}
	v, err := wire.Unmarshal(args)
	if err != nil {
		return nil, err
	}
	list := v.([]any)
	var answer any
	switch name {
	case "secrets.get":
		value, ok := h.secrets[list[0].(string)]
		if !ok {
			return nil, &hostcall.Error{Code: "secret_not_found", Message: "there is no such secret"}
		}
		answer = value
	case "http.fetch":
		answer, err = h.fetch(list[0].(string), list[1].(map[string]any))
	default:
		answer, err = h.kv(strings.TrimPrefix(name, "kv."), list)
	}
	if err != nil {
		return nil, err
	}
	return wire.Marshal(answer)
}

func (h *host) fetch(url string, options map[string]any) (any, error) {
	method, _ := options["method"].(string)
	if method == "" {
		method = "GET"
	}
	body, _ := options["body"].([]byte)
	h.sent = append(h.sent, strings.TrimSpace(method+" "+url+" "+string(body)))
	p, ok := h.pages[method+" "+url]
	if !ok {
		p.code = "egress_denied"
	}
	if p.code != "" {
		return nil, &hostcall.Error{Code: p.code, Message: "cannot fetch " + url}
	}
	if p.status == 0 {
		p.status = 200
	}
	headers := []any{}
	if p.header != "" {
		name, value, _ := strings.Cut(p.header, ": ")
		headers = append(headers, []any{name, value})
	}
	return map[string]any{"status": int64(p.status), "headers": headers, "body": []byte(p.body), "url": url}, nil
}

func (h *host) put(key string, value any) int64 {
	if h.store == nil {
		h.store = map[string]stored{}
	}
	h.clock++
	h.store[key] = stored{value, h.clock}
	return h.clock
}

func (h *host) kv(what string, args []any) (any, error) {
	if what == "list" {
		return h.list(args[0].(string), int(args[1].(int64)), args[2].(string)), nil
	}
	key := args[0].(string)
	if key == "" || len(key) > 512 {
		return nil, &hostcall.Error{Code: "kv_invalid_key", Message: "a key is 1 to 512 bytes"}
	}
	e, found := h.store[key]
	switch what {
	case "get":
		if !found {
			return nil, nil
		}
		return map[string]any{"value": e.value, "version": e.version}, nil
	case "set":
		return h.put(key, args[1]), nil
	case "cas":
		if e.version != args[1].(int64) {
			return int64(0), nil
		}
		return h.put(key, args[2]), nil
	case "incr":
		n, _ := e.value.(int64)
		h.put(key, n+args[1].(int64))
		return n + args[1].(int64), nil
	case "delete":
		delete(h.store, key)
		return found, nil
	}
	return nil, &hostcall.Error{Code: "internal", Message: "there is no kv." + what}
}

func (h *host) list(prefix string, limit int, cursor string) any {
	var keys []string
	behind, _ := base64.RawURLEncoding.DecodeString(cursor)
	for key := range h.store {
		if strings.HasPrefix(key, prefix) && key > string(behind) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	next := ""
	if len(keys) > limit {
		keys, next = keys[:limit], base64.RawURLEncoding.EncodeToString([]byte(keys[limit-1]))
	}
	items := []any{}
	for _, key := range keys {
		items = append(items, map[string]any{"key": key, "value": h.store[key].value, "version": h.store[key].version})
	}
	return map[string]any{"items": items, "next": next}
}
