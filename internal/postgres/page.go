package postgres

import (
	"math"
	"strconv"

	"github.com/picloud/picloud"
)

// cut ends a list that was fetched with one item more than the page has, and
// returns the cursor of the next page: the key of the last item, which the
// next page begins after.
func cut[T any](p picloud.Page, items []T, key func(T) string) ([]T, string) {
	if len(items) <= p.Size() {
		return items, ""
	}
	items = items[:p.Size()]
	return items, key(items[len(items)-1])
}

// nameCursor reads the cursor of a list that is ordered by name.
func nameCursor(s subject, p picloud.Page) (string, error) {
	if p.Cursor != "" && !picloud.ValidName(p.Cursor) {
		return "", badCursor(s)
	}
	return p.Cursor, nil
}

// numberCursor reads the cursor of a list that is ordered by falling numbers.
func numberCursor(s subject, p picloud.Page) (int64, error) {
	if p.Cursor == "" {
		return math.MaxInt64, nil
	}
	n, err := strconv.ParseInt(p.Cursor, 10, 64)
	if err != nil || n < 0 {
		return 0, badCursor(s)
	}
	return n, nil
}

func badCursor(s subject) error {
	return &picloud.Error{
		Code: picloud.CodeInvalid, Op: s.op, Resource: s.resource, Detail: "the cursor is not one of this list",
		Fields: []picloud.FieldError{{Field: "cursor", Message: "must be the next of an earlier page"}},
	}
}
