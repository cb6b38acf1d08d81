package config

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/cli/output"
	"github.com/picloud/picloud/manager/api/client"
)

// kvValue reads a value and returns its content type.
func (c commands) kvValue(text string, raw bool) (value []byte, contentType string, err error) {
	value = []byte(text)
	if text == "-" {
		if value, err = io.ReadAll(io.LimitReader(c.Stdin, maxValue+1)); err != nil {
			return nil, "", fmt.Errorf("read value: %w", err)
		}
		if len(value) > maxValue {
			return nil, "", errors.New("read value: standard input is larger than 1 MiB")
		}
	}
	switch {
	case raw:
		return value, "application/octet-stream", nil
	case json.Valid(value):
		return value, "application/json", nil
	}
	if text == "-" {
		value = withoutNewline(value)
	}
	if !utf8.Valid(value) {
		return nil, "", &picloud.Error{Code: picloud.CodeInvalid, Op: "read value", Detail: "it is neither JSON nor text", Hint: "--raw keeps it as bytes"}
	}
	return value, "text/plain; charset=utf-8", nil
}

// entry is the node's answer about one key.
type entry struct {
	key     string
	value   []byte
	bytes   bool // the value is bytes; otherwise it is JSON
	version int64
	expires *time.Time
}

// readEntry reads the answer of a request for a key.
func readEntry(key string) func(*http.Response, error) (entry, error) {
	return func(resp *http.Response, err error) (entry, error) {
		e := entry{key: key}
		text, err := client.Read[string](resp, err)
		if err != nil {
			return e, err
		}
		e.value = []byte(text)
		kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
		e.bytes = kind != "application/json"
		e.version, _ = strconv.ParseInt(strings.Trim(resp.Header.Get("ETag"), `"`), 10, 64)
		if at, err := time.Parse(time.RFC3339Nano, resp.Header.Get("X-PiCloud-Expires-At")); err == nil {
			e.expires = &at
		}
		return e, nil
	}
}

// item returns what `picloud kv get` prints for programs: the same as an entry of
// `picloud kv ls`.
func (e entry) item() kvEntry {
	out := kvEntry{Key: e.key, Version: e.version, ExpiresAt: e.expires, Value: e.value}
	if e.bytes {
		text := base64.StdEncoding.EncodeToString(e.value) // needs no escapes
		out.Value, out.Encoding = json.RawMessage(`"`+text+`"`), client.EncodingBase64
	}
	return out
}

type kvEntry struct {
	Key       string          `json:"key"`
	Version   int64           `json:"version"`
	ExpiresAt *time.Time      `json:"expires_at,omitempty"`
	Value     json.RawMessage `json:"value"`
	Encoding  client.Encoding `json:"encoding,omitempty"`
}

// printValue writes a value for a person, or for a pipe.
func (c commands) printValue(e entry, raw bool) {
	var text string
	switch {
	case e.bytes && !raw && output.Terminal(c.Stdout):
		c.Notef("%s holds %s; --raw prints them", output.Clean(e.key), output.Plural(len(e.value), "byte"))
	case e.bytes:
		_, _ = c.Stdout.Write(e.value)
	case raw && json.Unmarshal(e.value, &text) == nil:
		c.Printf("%s", text)
	default:
		var out bytes.Buffer
		if json.Indent(&out, e.value, "", "  ") != nil {
			out.Write(e.value)
		}
		c.Printf("%s\n", output.Clean(out.String()))
	}
}

// shortValue returns a value for a cell of a table.
func shortValue(i client.KVItem) string {
	if i.Value == nil || i.Encoding == client.EncodingBase64 {
		return "(" + output.Plural(i.Size, "byte") + ")"
	}
	var value any
	dec := json.NewDecoder(bytes.NewReader(i.Value))
	dec.UseNumber() // an integer of 64 bits keeps all of its digits
	text := string(i.Value)
	if dec.Decode(&value) == nil {
		if plain, err := output.Compact(value); err == nil {
			text = plain
		}
	}
	return picloud.Shorten(text, 60)
}
