package command

import (
	"context"
	"iter"
	"path/filepath"

	"github.com/picloud/picloud/internal/local"
)

// Folders yields the data folders of this machine whose node a command may ask, as the node knows
// them. Those that belong to somebody else are described in looked.
func (c *Base) Folders(looked *[]string) iter.Seq[string] {
	folders, refused := c.Target.DataFolders()
	for _, err := range refused {
		*looked = append(*looked, err.Error())
	}
	return func(yield func(string) bool) {
		for _, folder := range folders {
			if absolute, err := filepath.Abs(folder); err == nil {
				folder = absolute
			}
			if !yield(folder) {
				return
			}
		}
	}
}

// SeenHere returns the cluster as a node of this machine sees it, if the command speaks to this
// machine and a node of it can be asked. It needs neither manager nor database.
func (c *Base) SeenHere(ctx context.Context) (seen local.Cluster, ok bool) {
	if node, err := c.Connect(); err != nil || !node.Target().Local() {
		return seen, false
	}
	var looked []string
	for folder := range c.Folders(&looked) {
		if seen, err := local.Seen(ctx, folder); err == nil && seen.State.SeenBy != "" {
			return seen, true
		}
	}
	return seen, false
}

// NoteSeen says on standard error that what was printed is what one node knows, and why. Managed
// says that it knows a manager, which has no database then.
func (c *Base) NoteSeen(by string, managed bool, trouble, hint string) {
	if by == "" || trouble == "" {
		return
	}
	text := "picloud: as %s sees it; there is no manager: %s"
	if managed {
		text = "picloud: as %s sees it, without the database: %s"
	}
	c.Notef(text, by, trouble)
	if hint != "" {
		c.Notef("  hint: %s", hint)
	}
}
