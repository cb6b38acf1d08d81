package cli

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
)

// setting is one flag of `picloud function set`, `app set` or `node set`.
type setting struct {
	name  string
	usage string
	path  []string                  // in the settings document
	parse func(string) (any, error) // of the flag's text, into what JSON holds
}

// limitSettings are the limits, which functions, apps and nodes have alike.
func limitSettings() []setting {
	var all []setting
	for _, l := range picloud.LimitTable() {
		all = append(all, setting{
			name: flagName(l.Name), path: []string{"limits", l.Name}, parse: limitParser(l),
			usage: inShort(l.Doc) + ", " + l.Least + " to " + l.Most + " (default " + l.Default + ")",
		})
	}
	return all
}

// inShort is the documentation of a limit as a line of help.
func inShort(doc string) string {
	doc, _, _ = strings.Cut(doc, ";")
	return strings.ReplaceAll(doc, "`", "") // pflag would take the first quoted word for the kind of value
}

// flagName is the name of a limit on the command line.
func flagName(limit string) string { return strings.ReplaceAll(limit, "_", "-") }

// limitParser returns what reads a limit, of which the default shows the kind.
func limitParser(l picloud.Limit) func(string) (any, error) {
	if _, err := strconv.Atoi(l.Default); err == nil {
		return parseCount
	}
	if _, err := time.ParseDuration(l.Default); err == nil {
		return parseDuration
	}
	return parseSize
}

func functionSettings() []setting {
	return append(limitSettings(), []setting{
		{"secrets", "secrets of the app that it may read, such as A,B, or \"\" for none (default all)", []string{"secrets"}, parseSecrets},
		{"methods", "HTTP methods it takes, such as GET,POST (default all)", []string{"methods"}, parseMethods},
		{"cors-origins", "origins whose pages may call it, or * (default none)", []string{"cors", "origins"}, parseList},
		{"cors-methods", "methods that those pages may use (default those it takes)", []string{"cors", "methods"}, parseMethods},
		{"cors-headers", "request headers that those pages may send, or *", []string{"cors", "headers"}, parseList},
		{"cors-expose", "response headers that those pages may read", []string{"cors", "expose"}, parseList},
		{"cors-credentials", "whether those pages may send cookies: true or false", []string{"cors", "credentials"}, parseBool},
		{"cors-max-age", "how long browsers keep a preflight's answer (default 10m)", []string{"cors", "max_age"}, parseDuration},
	}...)
}

func appSettings() []setting {
	return append(limitSettings(), []setting{
		{"kv-bytes", "what the app may keep in its key-value store, up to 16GiB (default 64MiB)", []string{"kv", "bytes"}, parseSize},
		{"kv-keys", "how many keys it may have there, up to 10000000 (default 100000)", []string{"kv", "keys"}, parseCount},
	}...)
}

// settingFlags are the flags of a command that changes settings.
type settingFlags struct {
	settings []setting
	groups   []string // what --reset takes beside the settings' own names
	values   []string
	reset    []string
}

// addSettings gives cmd a flag per setting, and --reset.
func addSettings(cmd *cobra.Command, settings []setting, groups ...string) *settingFlags {
	s := &settingFlags{settings: settings, groups: groups, values: make([]string, len(settings))}
	flags := cmd.Flags()
	flags.SortFlags = false
	for i, one := range settings {
		flags.StringVar(&s.values[i], one.name, "", one.usage)
	}
	flags.StringSliceVar(&s.reset, "reset", nil, "settings to take back to their defaults, such as timeout,"+groups[len(groups)-1])
	return s
}

// patch builds the merge patch (RFC 7396) that the flags ask for.
func (s *settingFlags) patch(cmd *cobra.Command) (map[string]any, error) {
	patch := map[string]any{}
	for i, one := range s.settings {
		if !cmd.Flags().Changed(one.name) {
			continue
		}
		v, err := one.parse(s.values[i])
		if err != nil {
			return nil, usagef(cmd, "--%s: %v", one.name, err)
		}
		put(patch, one.path, v)
	}
	for _, name := range s.reset {
		path := s.resetPath(name)
		if path == nil {
			return nil, usagef(cmd, "--reset: there is no setting %q", name)
		}
		if held(patch, path) {
			return nil, usagef(cmd, "--reset %s contradicts what is set", name)
		}
		put(patch, path, nil)
	}
	if len(patch) == 0 {
		return nil, usagef(cmd, "name at least one setting to change")
	}
	return patch, nil
}

// resetPath finds what --reset NAME stands for.
func (s *settingFlags) resetPath(name string) []string {
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

// ifRevision adds --if-revision, and returns what reads it as If-Match.
func ifRevision(cmd *cobra.Command, what string) func() *string {
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

// inSettings is a patch of what has its settings in a member of that name.
func inSettings(patch map[string]any) (json.RawMessage, error) {
	return json.Marshal(map[string]any{"settings": patch})
}

func parseDuration(s string) (any, error) {
	var d picloud.Duration
	err := d.UnmarshalText([]byte(s))
	return time.Duration(d).String(), err
}

func parseSize(s string) (any, error) {
	v, err := picloud.ParseSize(s)
	return int64(v), err
}

func parseCount(s string) (any, error) {
	n, err := strconv.Atoi(s)
	if err != nil {
		return nil, usageText(s, "a number")
	}
	return n, nil
}

func parseBool(s string) (any, error) {
	b, err := strconv.ParseBool(s)
	if err != nil {
		return nil, usageText(s, "true or false")
	}
	return b, nil
}

func parseMethods(s string) (any, error) { return parseList(strings.ToUpper(s)) }

// parseSecrets takes no name at all, which is not the same as no list.
func parseSecrets(s string) (any, error) {
	if strings.TrimSpace(s) == "" {
		return []string{}, nil
	}
	return parseList(s)
}

func parseList(s string) (any, error) {
	items := []string{}
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	if len(items) == 0 {
		return nil, usageText(s, "a list such as A,B")
	}
	return items, nil
}
