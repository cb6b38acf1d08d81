package api

import "github.com/picloud/picloud"

// maxCursor is longer than any cursor is.
const maxCursor = 256

// page reads the parameters of a list.
func page(limit *int, cursor *string) (picloud.Page, error) {
	var p picloud.Page
	if limit != nil {
		if *limit < 1 || *limit > 200 {
			return p, invalid("limit", "must be between 1 and 200")
		}
		p.Limit = *limit
	}
	if cursor != nil {
		if len(*cursor) > maxCursor {
			return p, invalid("cursor", "must be the next of an earlier page")
		}
		p.Cursor = *cursor
	}
	return p, nil
}

// list makes an empty list [] instead of null.
func list[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}
