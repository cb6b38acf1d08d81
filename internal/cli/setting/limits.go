package setting

import (
	"context"
	"fmt"
	"reflect"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/cli/command"
	"github.com/picloud/picloud/manager/api/client"
)

// Source is where limits may come from.
type Source struct {
	Name   string
	Limits map[string]string // those that are set, by name, as people write them
}

// Rows are the limits in force and where each comes from: the first
// source that sets it, else the built-in default.
func Rows(sources ...Source) [][]string {
	var rows [][]string
	for _, l := range picloud.LimitTable() {
		text := initial(l) + " (default)"
		for _, s := range sources {
			if set := s.Limits[l.Name]; set != "" {
				text = set + " (" + s.Name + ")"
				break
			}
		}
		rows = append(rows, []string{flagName(l.Name), text})
	}
	return rows
}

// initial is the default of a limit as people read it: no age is no limit, and not that nothing may
// be old.
func initial(l picloud.Limit) string {
	if l.Default == "0s" {
		return "none"
	}
	return l.Default
}

// TextsOf are the limits that are set, by name.
func TextsOf(l picloud.Limits) map[string]string {
	texts := map[string]string{}
	v := reflect.ValueOf(l)
	for _, f := range reflect.VisibleFields(v.Type()) {
		if field := v.FieldByIndex(f.Index); !field.IsZero() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			texts[name] = fmt.Sprint(field.Interface())
		}
	}
	return texts
}

// DefaultsOf asks the node for the limits of an app and of the nodes, which apply where a
// function has none of its own. It leaves out those that the user may not see.
func DefaultsOf(c *command.Base, cmd *cobra.Command, app string) []Source {
	var found []Source
	a, err := command.Call(c, cmd, "show app", app, func(ctx context.Context, node *command.Node) (client.AppDetail, error) {
		return client.Read[client.AppDetail](node.GetApp(ctx, app))
	})
	if err == nil {
		found = append(found, Source{"app", TextsOf(a.Settings.Limits)})
	}
	return append(found, NodeDefaults(c, cmd))
}

// NodeDefaults are the limits of the nodes, where all of them agree.
func NodeDefaults(c *command.Base, cmd *cobra.Command) Source {
	nodes, err := command.Call(c, cmd, "list nodes", "", func(ctx context.Context, node *command.Node) (client.NodeList, error) {
		return client.Read[client.NodeList](node.ListNodes(ctx))
	})
	if err != nil {
		return Source{Name: "node"}
	}
	common := map[string]string{}
	for i, node := range nodes.Items {
		texts := TextsOf(node.Limits)
		for _, l := range picloud.LimitTable() {
			switch {
			case i == 0:
				common[l.Name] = texts[l.Name]
			case common[l.Name] != texts[l.Name]:
				common[l.Name] = "differs"
			}
		}
	}
	return Source{"node", common}
}
