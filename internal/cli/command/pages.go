package command

import (
	"context"

	"github.com/picloud/picloud/manager/api/client"
)

// The most that a list command fetches.
const (
	pageSize = 200
	maxPages = 100
)

// pages fetches every page of a list. It stops after maxPages pages; more reports that
// there are others.
func pages[T any](fetch func(limit *int, cursor *string) (items []T, next string, err error)) (all []T, more bool, err error) {
	limit := pageSize
	var cursor *string
	all = []T{} // an empty list is [] in JSON, not null
	for range maxPages {
		items, next, err := fetch(&limit, cursor)
		if err != nil {
			return nil, false, err
		}
		all = append(all, items...)
		if next == "" {
			return all, false, nil
		}
		cursor = &next
	}
	return all, true, nil
}

// Cut warns that only a part of a list was fetched.
func (c *Base) Cut(more bool) {
	if more {
		c.Warnf("the list is longer: only the first %d are shown", pageSize*maxPages)
	}
}

// Functions fetches a page of the functions of an app.
func (n *Node) Functions(ctx context.Context, app string, limit *int, cursor *string) ([]client.Function, string, error) {
	page, err := client.Read[client.FunctionList](n.ListFunctions(ctx, app, &client.ListFunctionsParams{Limit: limit, Cursor: cursor}))
	return page.Items, page.Next, err
}

// Apps fetches a page of the apps that the user can see.
func (n *Node) Apps(ctx context.Context, limit *int, cursor *string) ([]client.App, string, error) {
	page, err := client.Read[client.AppList](n.ListApps(ctx, &client.ListAppsParams{Limit: limit, Cursor: cursor}))
	return page.Items, page.Next, err
}
