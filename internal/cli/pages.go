package cli

// The most that a list command fetches.
const (
	pageSize = 200
	maxPages = 100
)

// pages fetches every page of a list. A list that is longer than maxPages
// pages is cut, and more says so.
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

// cut warns that a list was too long to be fetched whole.
func (c *cli) cut(more bool) {
	if more {
		c.warnf("the list is longer: only the first %d are shown", pageSize*maxPages)
	}
}
