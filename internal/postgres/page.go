package postgres

import (
	"math"
	"strconv"

	"github.com/picloud/picloud"
)

// Cut shortens a list that was fetched with one item more than the page has (keyset
// pagination). It returns the cursor of the next page: the key of the page's last
// item. The next page begins after that item.
func Cut[T any](p picloud.Page, items []T, key func(T) string) ([]T, string) {
	if len(items) <= p.Size() {
		return items, ""
	}
	items = items[:p.Size()]
	return items, key(items[len(items)-1])
}

// NameCursor reads the cursor of a list that is ordered by name.
func NameCursor(s Subject, p picloud.Page) (string, error) {
	if p.Cursor != "" && !picloud.ValidName(p.Cursor) {
		return "", s.BadCursor()
	}
	return p.Cursor, nil
}

// NumberCursor reads the cursor of a list that is ordered by falling numbers.
func NumberCursor(s Subject, p picloud.Page) (int64, error) {
	if p.Cursor == "" {
		return math.MaxInt64, nil
	}
	n, err := strconv.ParseInt(p.Cursor, 10, 64)
	if err != nil || n < 0 {
		return 0, s.BadCursor()
	}
	return n, nil
}
