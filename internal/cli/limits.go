package cli

import (
	"context"
	"fmt"
	"reflect"
	"strings"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/manager/api/client"
)

// source is where limits may come from.
type source struct {
	name   string
	limits map[string]string // those that are set, by name, as people write them
}

// limitRows are the limits in force and where each comes from: the first
// source that sets it, else the built-in default.
func limitRows(sources ...source) [][]string {
	var rows [][]string
	for _, l := range picloud.LimitTable() {
		text := l.Default + " (default)"
		for _, s := range sources {
			if set := s.limits[l.Name]; set != "" {
				text = set + " (" + s.name + ")"
				break
			}
		}
		rows = append(rows, []string{flagName(l.Name), text})
	}
	return rows
}

// textsOf are the limits that are set, by name.
func textsOf(l picloud.Limits) map[string]string {
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

// defaultsOf asks for what stands below a function's own limits: those of its
// app, and those of the nodes. It leaves out what it cannot find out.
func (n *connection) defaultsOf(ctx context.Context, app string) []source {
	var found []source
	if a, err := client.Read[client.AppDetail](n.GetApp(ctx, app)); err == nil {
		found = append(found, source{"app", textsOf(a.Settings.Limits)})
	}
	return append(found, n.nodeDefaults(ctx))
}

// nodeDefaults are the limits of the nodes, where all of them agree.
func (n *connection) nodeDefaults(ctx context.Context) source {
	nodes, err := client.Read[client.NodeList](n.ListNodes(ctx))
	if err != nil {
		return source{name: "node"}
	}
	common := map[string]string{}
	for i, node := range nodes.Items {
		texts := textsOf(node.Limits)
		for _, l := range picloud.LimitTable() {
			switch {
			case i == 0:
				common[l.Name] = texts[l.Name]
			case common[l.Name] != texts[l.Name]:
				common[l.Name] = "differs"
			}
		}
	}
	return source{"node", common}
}
