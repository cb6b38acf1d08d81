package config

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/cli/command"
	"github.com/picloud/picloud/internal/cli/failure"
	"github.com/picloud/picloud/internal/cli/output"
	"github.com/picloud/picloud/internal/cli/setting"
	"github.com/picloud/picloud/internal/cli/target"
	"github.com/picloud/picloud/manager/api/client"
)

// maxValue bounds a value on the command line or on standard input, in bytes. It is more
// than the store keeps, because the JSON of a value may be longer than the value.
const maxValue = 1 << 20

func (c commands) kvCommand() *cobra.Command {
	return command.Noun("kv", "The key-value store that an app's functions share",
		&cobra.Command{
			Use:     "ls [PREFIX]",
			Aliases: command.ListAliases,
			Short:   "List keys, those that start with PREFIX",
			Long: "List keys with their values, those that start with PREFIX. Values of more than 1 KiB are left out, which\n" +
				"picloud kv get prints.",
			Args: command.Args(0, 1),
			RunE: func(cmd *cobra.Command, given []string) error { return c.listKeys(cmd, target.FirstOf(given...)) },
		},
		c.kvGetCommand(), c.kvSetCommand(), c.kvRemoveCommand())
}

func (c commands) kvGetCommand() *cobra.Command {
	var raw bool
	cmd := &cobra.Command{
		Use:   "get KEY",
		Short: "Print the value of a key, as JSON",
		Long: "Print the value of a key as JSON; bytes are printed unchanged. --raw prints strings without quotes\n" +
			"and adds no newline.",
		Example: "  picloud kv get visits\n  picloud kv get logo --raw > logo.png",
		Args:    command.Args(1, 1),

		ValidArgsFunction: c.completeKeys,
		RunE: func(cmd *cobra.Command, keys []string) error {
			e, err := command.Call(c.Base, cmd, "get key", c.App+"/"+keys[0], func(ctx context.Context, node *command.Node) (entry, error) {
				return readEntry(keys[0])(node.GetKV(ctx, c.App, keys[0], client.AtKey(c.App, keys[0])))
			})
			if err != nil {
				return c.noKey(err)
			}
			return c.Print(e.item(), func() { c.printValue(e, raw) })
		},
	}
	cmd.Flags().BoolVar(&raw, "raw", false, "strings without quotes, bytes also to a terminal")
	return cmd
}

func (c commands) kvSetCommand() *cobra.Command {
	var raw bool
	var ttl picloud.Duration
	var version int64
	cmd := &cobra.Command{
		Use:   "set KEY VALUE",
		Short: "Write a key",
		Long: "Write a key. VALUE is JSON, or a string if it is not valid JSON; - reads it from standard input,\n" +
			"without the newline at its end if there is just one. --raw keeps it as bytes, unchanged. A value\n" +
			"that starts with a hyphen, such as a negative number, comes after --.",
		Example: "  picloud kv set visits 0\n" +
			"  picloud kv set user:ada '{\"name\":\"Ada\"}' --ttl 1h\n" +
			"  picloud kv set logo - --raw < logo.png\n" +
			"  picloud kv set celsius -- -4\n" +
			"  picloud kv set lock 1 --if-version 0",
		Args:              command.Args(2, 2),
		ValidArgsFunction: c.completeKeys,
		RunE: func(cmd *cobra.Command, given []string) error {
			value, kind, err := c.kvValue(given[1], raw)
			if err != nil {
				return err
			}
			params := &client.PutKVParams{}
			if cmd.Flags().Changed("ttl") {
				text := time.Duration(ttl).String()
				params.TTL = &text
			}
			if cmd.Flags().Changed("if-version") {
				params.IfMatch, params.IfNoneMatch = versionHeaders(version)
			}
			item, err := command.Call(c.Base, cmd, "set key", c.App+"/"+given[0], func(ctx context.Context, node *command.Node) (client.KVItem, error) {
				return client.Read[client.KVItem](node.PutKVWithBody(ctx, c.App, given[0], params, kind, bytes.NewReader(value), client.AtKey(c.App, given[0])))
			})
			if err != nil {
				return failure.NoApp(err, c.App)
			}
			return c.Print(item, func() { c.Printf("%s version %d\n", output.Clean(item.Key), item.Version) })
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVar(&raw, "raw", false, "keep the value as bytes")
	setting.DurationVar(cmd, &ttl, "ttl", "how long the key lasts, such as 1h or 7d (default for ever)")
	flags.Int64Var(&version, "if-version", 0, "write only if the key has this version; 0: only if there is no such key")
	return cmd
}

func (c commands) kvRemoveCommand() *cobra.Command {
	var version int64
	cmd := c.Removal(command.Removal{
		Use: "rm KEY…", Short: "Delete keys", What: "key", Complete: c.completeKeys,
		Remove: func(ctx context.Context, node *command.Node, key string) error {
			params := &client.DeleteKVParams{}
			if version != 0 {
				params.IfMatch, _ = versionHeaders(version)
			}
			_, err := client.Read[client.Nothing](node.DeleteKV(ctx, c.App, key, params, client.AtKey(c.App, key)))
			return c.noKey(node.Fail(err, "delete key", c.App+"/"+key))
		},
	})
	cmd.Flags().Int64Var(&version, "if-version", 0, "delete only if the key has this version; for one key")
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, keys []string) error {
		switch given := cmd.Flags().Changed("if-version"); {
		case given && version < 1: // an unconditional delete is not what was asked for
			return failure.Usagef(cmd, "--if-version is 1 or more, as picloud kv ls shows it: there is no key with version %d", version)
		case given && len(keys) > 1:
			return failure.Usagef(cmd, "--if-version is for one key, and there are %d", len(keys))
		}
		return run(cmd, keys)
	}
	return cmd
}

// noKey adds a hint to the error of a key that was not found.
func (c commands) noKey(err error) error {
	return failure.NotFound(err, failure.InApp("picloud kv ls", c.App)+" lists those that are there")
}

// versionHeaders returns If-Match and If-None-Match for the version that a key must have.
// Version 0 means that the key must not exist.
func versionHeaders(version int64) (ifMatch, ifNoneMatch *string) {
	if version == 0 {
		any := "*"
		return nil, &any
	}
	etag := strconv.Quote(strconv.FormatInt(version, 10))
	return &etag, nil
}

// completeKeys offers the keys that start with what is typed, for the first argument.
func (c commands) completeKeys(cmd *cobra.Command, given []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(given) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return c.Complete(cmd, func(ctx context.Context, node *command.Node) (keys []string) {
		page, _ := client.Read[client.KVList](node.ListKV(ctx, c.App, &client.ListKVParams{Prefix: &typed}))
		for _, item := range page.Items {
			keys = append(keys, item.Key)
		}
		return keys
	})
}

func (c commands) listKeys(cmd *cobra.Command, prefix string) error {
	items, more, err := command.List(c.Base, cmd, "list keys of", c.App, func(ctx context.Context, node *command.Node, limit *int, cursor *string) ([]client.KVItem, string, error) {
		page, err := client.Read[client.KVList](node.ListKV(ctx, c.App, &client.ListKVParams{Prefix: &prefix, Limit: limit, Cursor: cursor}))
		return page.Items, page.Next, err
	})
	if err != nil {
		return failure.NoApp(err, c.App)
	}
	if more {
		defer c.Warnf("there are more: only the first %d are shown; give a longer PREFIX", len(items))
	}
	return c.Print(items, func() {
		if len(items) == 0 {
			c.Notef("There are no such keys. Write one with: %s", failure.InApp("picloud kv set KEY VALUE", c.App))
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
		c.Table("KEY VERSION EXPIRES VALUE", rows)
	})
}
