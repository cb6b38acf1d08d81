package setting

import (
	"encoding/json"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/internal/cli/failure"
)

// Flags are the flags of a command that changes settings.
type Flags struct {
	settings []Setting
	groups   []string // what --reset takes beside the settings' own names
	values   []string
	reset    []string
}

// AddFlags gives cmd a flag per setting, and --reset. Such a command prints what Changed
// returns, and says so in its help.
func AddFlags(cmd *cobra.Command, settings []Setting, groups ...string) *Flags {
	s := &Flags{settings: settings, groups: groups, values: make([]string, len(settings))}
	cmd.Long += "\nIt prints what it changed; show prints all settings."
	flags := cmd.Flags()
	flags.SortFlags = false
	for i, one := range settings {
		if one.list {
			flags.Var((*list)(&s.values[i]), one.name, one.usage)
			continue
		}
		flags.StringVar(&s.values[i], one.name, "", one.usage)
	}
	flags.StringSliceVar(&s.reset, "reset", nil, "settings to take back to their defaults, such as timeout,"+groups[len(groups)-1])
	return s
}

// list is the value of a flag that can be repeated.
type list string

// Set adds to what the flag had before.
func (l *list) Set(s string) error {
	if *l != "" {
		s = string(*l) + "," + s
	}
	*l = list(s)
	return nil
}

// String returns all that was given, with commas between.
func (l *list) String() string { return string(*l) }

// Type is the word for the value in help.
func (l *list) Type() string { return "string" }

// Patch builds the merge patch (RFC 7396) that the flags ask for.
func (s *Flags) Patch(cmd *cobra.Command) (map[string]any, error) {
	patch := map[string]any{}
	for i, one := range s.settings {
		if !cmd.Flags().Changed(one.name) {
			continue
		}
		v, err := one.parse(s.values[i])
		if err != nil {
			return nil, failure.Usagef(cmd, "--%s: %v", one.name, err)
		}
		put(patch, one.path, v)
	}
	for _, name := range s.reset {
		path := s.resetPath(name)
		if path == nil {
			return nil, failure.Usagef(cmd, "--reset: there is no setting %q", name)
		}
		if held(patch, path) {
			return nil, failure.Usagef(cmd, "--reset %s contradicts what is set", name)
		}
		put(patch, path, nil)
	}
	if len(patch) == 0 {
		return nil, failure.Usagef(cmd, "name at least one setting to change")
	}
	return patch, nil
}

// Changed returns those rows of all that show what the flags changed. A row is named as
// its flag. The map rows lists the other rows that show a flag. When Changed finds no
// row, it returns all.
func (s *Flags) Changed(cmd *cobra.Command, all [][]string, rows map[string][]string) [][]string {
	var names []string
	add := func(name string) { names = append(append(names, name), rows[name]...) }
	for _, one := range s.settings {
		if cmd.Flags().Changed(one.name) {
			add(one.name)
		}
	}
	for _, name := range s.reset {
		add(name)
		for _, one := range s.settings {
			if one.path[0] == name { // a group
				add(one.name)
			}
		}
	}
	var kept [][]string
	keep := false
	for _, row := range all {
		if row[0] != "" { // else the row goes on with the one before
			keep = slices.Contains(names, row[0])
		}
		if keep {
			kept = append(kept, row)
		}
	}
	if kept == nil {
		return all
	}
	return kept
}

// resetPath finds what --reset NAME stands for.
func (s *Flags) resetPath(name string) []string {
	if slices.Contains(s.groups, name) {
		return []string{name}
	}
	for _, one := range s.settings {
		if one.name == name {
			return one.path
		}
	}
	return nil
}

func held(patch map[string]any, path []string) bool {
	v, ok := patch[path[0]]
	if inner, isMap := v.(map[string]any); isMap && len(path) > 1 {
		_, ok = inner[path[1]]
	}
	return ok
}

func put(patch map[string]any, path []string, v any) {
	if len(path) == 1 {
		patch[path[0]] = v
		return
	}
	inner, ok := patch[path[0]].(map[string]any)
	if !ok {
		inner = map[string]any{}
		patch[path[0]] = inner
	}
	inner[path[1]] = v
}

// IfRevision adds the flag --if-revision. It returns a function that makes If-Match of
// the flag's value.
func IfRevision(cmd *cobra.Command, what string) func() *string {
	var rev int64
	cmd.Flags().Int64Var(&rev, "if-revision", 0, "change only if the "+what+" still has this revision")
	return func() *string {
		if rev == 0 {
			return nil
		}
		etag := strconv.Quote(strconv.FormatInt(rev, 10))
		return &etag
	}
}

// InSettings returns a patch of settings inside the member "settings", where functions
// and apps have theirs.
func InSettings(patch map[string]any) (json.RawMessage, error) {
	return json.Marshal(map[string]any{"settings": patch})
}
