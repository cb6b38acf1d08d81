package cli

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/manager/api/client"
)

// maxValue bounds what is read of a value, in bytes: as JSON it may be longer
// than it is kept.
const maxValue = 1 << 20

func (c *cli) kvCommand() *cobra.Command {
	return noun("kv", "The key-value store that an app's functions share",
		&cobra.Command{
			Use:   "ls [PREFIX]",
			Short: "List keys, those that start with PREFIX",
			Long: "List keys with their values, those that start with PREFIX. Values of more than 1 KiB are left out, which\n" +
				"picloud kv get prints.",
			Args: args(0, 1),
			RunE: func(cmd *cobra.Command, given []string) error { return c.listKeys(cmd.Context(), firstOf(given...)) },
		},
		c.kvGetCommand(), c.kvSetCommand(), c.kvRemoveCommand())
}

func (c *cli) kvGetCommand() *cobra.Command {
	var raw bool
	cmd := &cobra.Command{
		Use:   "get KEY",
		Short: "Print the value of a key, as JSON",
		Long: "Print the value of a key as JSON, and one that is bytes as it is. --raw prints strings without quotes\n" +
			"and adds no newline.",
		Example: "  picloud kv get visits\n  picloud kv get logo --raw > logo.png",
		Args:    args(1, 1),
		RunE: func(cmd *cobra.Command, keys []string) error {
			node, err := c.connect()
			if err != nil {
				return err
			}
			ctx, cancel := deadline(cmd.Context())
			defer cancel()
			e, err := readEntry(keys[0])(node.GetKV(ctx, c.app, keys[0], client.AtKey(c.app, keys[0])))
			if err != nil {
				return c.noKey(node.fail(err, "get key", c.app+"/"+keys[0]))
			}
			return c.print(e.item(), func() { c.printValue(e, raw) })
		},
	}
	cmd.Flags().BoolVar(&raw, "raw", false, "strings without quotes, bytes also to a terminal")
	return cmd
}

func (c *cli) kvSetCommand() *cobra.Command {
	var raw bool
	var ttl time.Duration
	var version int64
	cmd := &cobra.Command{
		Use:   "set KEY VALUE",
		Short: "Write a key",
		Long: "Write a key. VALUE is JSON if it can be read as that, else a string; - reads it from standard input,\n" +
			"without the newline at its end if there is just one. --raw takes it as bytes, just as they are. What\n" +
			"starts with a hyphen, such as a negative number, comes after --.",
		Example: "  picloud kv set visits 0\n" +
			"  picloud kv set user:ada '{\"name\":\"Ada\"}' --ttl 1h\n" +
			"  picloud kv set logo - --raw < logo.png\n" +
			"  picloud kv set celsius -- -4\n" +
			"  picloud kv set lock 1 --if-version 0",
		Args: args(2, 2),
		RunE: func(cmd *cobra.Command, given []string) error {
			value, kind, err := c.kvValue(given[1], raw)
			if err != nil {
				return err
			}
			params := &client.PutKVParams{}
			if cmd.Flags().Changed("ttl") {
				text := ttl.String()
				params.TTL = &text
			}
			if cmd.Flags().Changed("if-version") {
				params.IfMatch, params.IfNoneMatch = versionHeaders(version)
			}
			node, err := c.connect()
			if err != nil {
				return err
			}
			ctx, cancel := deadline(cmd.Context())
			defer cancel()
			item, err := client.Read[client.KVItem](node.PutKVWithBody(ctx, c.app, given[0], params, kind, bytes.NewReader(value), client.AtKey(c.app, given[0])))
			if err != nil {
				return noApp(node.fail(err, "set key", c.app+"/"+given[0]), c.app)
			}
			return c.print(item, func() { c.printf("%s version %d\n", clean(item.Key), item.Version) })
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVar(&raw, "raw", false, "keep the value as bytes")
	flags.DurationVar(&ttl, "ttl", 0, "how long the key lasts, such as 1h (default for ever)")
	flags.Int64Var(&version, "if-version", 0, "write only if the key has this version; 0: only if there is no such key")
	return cmd
}

func (c *cli) kvRemoveCommand() *cobra.Command {
	var version int64
	cmd := c.removal("rm KEY", "Delete a key", "key", nil,
		func(ctx context.Context, node *connection, key string) error {
			params := &client.DeleteKVParams{}
			if version != 0 {
				params.IfMatch, _ = versionHeaders(version)
			}
			_, err := client.Read[client.Nothing](node.DeleteKV(ctx, c.app, key, params, client.AtKey(c.app, key)))
			return c.noKey(node.fail(err, "delete key", c.app+"/"+key))
		})
	cmd.Flags().Int64Var(&version, "if-version", 0, "delete only if the key has this version")
	return cmd
}

// noKey says where to look for keys.
func (c *cli) noKey(err error) error {
	return notFound(err, inApp("picloud kv ls", c.app)+" lists those that are there")
}

// versionHeaders are If-Match and If-None-Match for the version that a key must
// have; 0: there must be none.
func versionHeaders(version int64) (ifMatch, ifNoneMatch *string) {
	if version == 0 {
		any := "*"
		return nil, &any
	}
	etag := strconv.Quote(strconv.FormatInt(version, 10))
	return &etag, nil
}

// kvValue reads a value, and says what it is.
func (c *cli) kvValue(text string, raw bool) (value []byte, contentType string, err error) {
	value = []byte(text)
	if text == "-" {
		if value, err = io.ReadAll(io.LimitReader(c.Stdin, maxValue+1)); err != nil {
			return nil, "", fmt.Errorf("read value: %w", err)
		}
		if len(value) > maxValue {
			return nil, "", fmt.Errorf("read value: standard input is larger than 1 MiB")
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

// entry is a key that was read.
type entry struct {
	key     string
	value   []byte
	bytes   bool // it is bytes, else JSON
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

// item is what `picloud kv get` prints for programs: as lists have it.
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
func (c *cli) printValue(e entry, raw bool) {
	var text string
	switch {
	case e.bytes && !raw && terminal(c.Stdout):
		c.notef("%s holds %s; --raw prints them", clean(e.key), plural(len(e.value), "byte"))
	case e.bytes:
		_, _ = c.Stdout.Write(e.value)
	case raw && json.Unmarshal(e.value, &text) == nil:
		c.printf("%s", text)
	default:
		var out bytes.Buffer
		if json.Indent(&out, e.value, "", "  ") != nil {
			out.Write(e.value)
		}
		c.printf("%s\n", clean(out.String()))
	}
}

func (c *cli) listKeys(ctx context.Context, prefix string) error {
	node, err := c.connect()
	if err != nil {
		return err
	}
	ctx, cancel := deadline(ctx)
	defer cancel()
	items, more, err := pages(func(limit *int, cursor *string) ([]client.KVItem, string, error) {
		page, err := client.Read[client.KVList](node.ListKV(ctx, c.app, &client.ListKVParams{Prefix: &prefix, Limit: limit, Cursor: cursor}))
		return page.Items, page.Next, err
	})
	if err != nil {
		return noApp(node.fail(err, "list keys of", c.app), c.app)
	}
	if more {
		defer c.warnf("there are more: only the first %d are shown; give a longer PREFIX", len(items))
	}
	return c.print(items, func() {
		if len(items) == 0 {
			c.notef("There are no such keys. Write one with: %s", inApp("picloud kv set KEY VALUE", c.app))
			return
		}
		rows := make([][]string, 0, len(items))
		for _, i := range items {
			expires := "never"
			if i.ExpiresAt != nil {
				expires = i.ExpiresAt.Local().Format(time.DateTime)
			}
			rows = append(rows, []string{oneLine(i.Key), fmt.Sprint(i.Version), expires, shortValue(i)})
		}
		c.table("KEY VERSION EXPIRES VALUE", rows)
	})
}

// shortValue is a value as a part of a table.
func shortValue(i client.KVItem) string {
	if i.Value == nil || i.Encoding == client.EncodingBase64 {
		return "(" + plural(i.Size, "byte") + ")"
	}
	var value any
	dec := json.NewDecoder(bytes.NewReader(i.Value))
	dec.UseNumber() // an integer of 64 bits keeps all of its digits
	text := string(i.Value)
	if dec.Decode(&value) == nil {
		if plain, err := compact(value); err == nil {
			text = plain
		}
	}
	return picloud.Shorten(text, 60)
}
