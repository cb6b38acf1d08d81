package picloud

// MaxPageSize is the most items of one page.
const MaxPageSize = 200

// Page asks for a part of a list.
type Page struct {
	Limit  int    // items at most; 0: 50; capped at 200
	Cursor string // opaque, from the previous page; empty: the beginning
}

// Size returns the number of items to fetch.
func (p Page) Size() int {
	if p.Limit <= 0 {
		return 50
	}
	return min(p.Limit, MaxPageSize)
}
