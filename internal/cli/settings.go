package cli

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/manager/api/client"
)

// settingFlag is one flag of `picloud function set`.
type settingFlag struct {
	name  string
	usage string
	path  []string                  // in the settings document
	parse func(string) (any, error) // of the flag's text, into what JSON holds
}

var settingFlags = []settingFlag{
	{"timeout", "wall time of one call, 10ms to 15m (default 10s)", limit("timeout"), parseDuration},
	{"memory", "memory of the app's executor, 16MiB to 2GiB (default 64MiB)", limit("memory"), parseSize},
	{"concurrency", "calls at once on one node, 1 to 1000 (default 32)", limit("concurrency"), parseCount},
	{"queue", "calls that wait on one node, 1 to 10000 (default 128)", limit("queue"), parseCount},
	{"request-body", "largest request body, 1B to 64MiB (default 8MiB)", limit("request_body"), parseSize},
	{"response-body", "largest response body, 1B to 64MiB (default 8MiB)", limit("response_body"), parseSize},
	{"log-bytes", "what one call may log, 1B to 1MiB (default 64KiB)", limit("log_bytes"), parseSize},
	{"host-calls", "host calls of one call, 1 to 10000 (default 50)", limit("host_calls"), parseCount},
	{"methods", "HTTP methods it takes, such as GET,POST (default all)", []string{"methods"}, parseMethods},
	{"cors-origins", "origins whose pages may call it, or * (default none)", []string{"cors", "origins"}, parseList},
	{"cors-methods", "methods that those pages may use (default those it takes)", []string{"cors", "methods"}, parseMethods},
	{"cors-headers", "request headers that those pages may send, or *", []string{"cors", "headers"}, parseList},
	{"cors-expose", "response headers that those pages may read", []string{"cors", "expose"}, parseList},
	{"cors-credentials", "whether those pages may send cookies: true or false", []string{"cors", "credentials"}, parseBool},
	{"cors-max-age", "how long browsers keep a preflight's answer (default 10m)", []string{"cors", "max_age"}, parseDuration},
}

func limit(field string) []string { return []string{"limits", field} }

func (c *cli) functionSetCommand() *cobra.Command {
	var reset []string
	var rev int64
	values := make([]string, len(settingFlags))
	cmd := &cobra.Command{
		Use:   "set FUNCTION",
		Short: "Change a function's limits, methods and CORS",
		Long: "Change settings of a function. What is not named stays as it is; --reset takes a setting back to its\n" +
			"default. Every node applies the change without a restart and without a new version.",
		Example: "  picloud function set hello --timeout 2s --memory 32MiB\n" +
			"  picloud function set hello --methods GET,HEAD --cors-origins https://example.org\n" +
			"  picloud function set hello --reset timeout,cors",
		Args:              args(1, 1),
		ValidArgsFunction: c.completeFunctions,
		RunE: func(cmd *cobra.Command, names []string) error {
			patch, err := settingsPatch(cmd, values, reset)
			if err != nil {
				return err
			}
			node, err := c.connect()
			if err != nil {
				return err
			}
			ctx, cancel := deadline(cmd.Context())
			defer cancel()
			params := &client.UpdateFunctionParams{}
			if rev != 0 {
				etag := strconv.Quote(strconv.FormatInt(rev, 10))
				params.IfMatch = &etag
			}
			f, err := client.Read[client.Function](node.UpdateFunction(ctx, c.app, names[0], params, patch))
			if err != nil {
				return node.fail(err, "change function", c.app+"/"+names[0])
			}
			return c.print(f, func() { c.printFunction(node, f) })
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	for i, s := range settingFlags {
		flags.StringVar(&values[i], s.name, "", s.usage)
	}
	flags.StringSliceVar(&reset, "reset", nil, "settings to take back to their defaults, such as timeout,cors")
	flags.Int64Var(&rev, "if-revision", 0, "change only if the function still has this revision")
	return cmd
}

// settingsPatch builds the merge patch (RFC 7396) that the flags ask for.
func settingsPatch(cmd *cobra.Command, values, reset []string) (json.RawMessage, error) {
	settings := map[string]any{}
	for i, s := range settingFlags {
		if !cmd.Flags().Changed(s.name) {
			continue
		}
		v, err := s.parse(values[i])
		if err != nil {
			return nil, usagef(cmd, "--%s: %v", s.name, err)
		}
		put(settings, s.path, v)
	}
	for _, name := range reset {
		path := resetPath(name)
		if path == nil {
			return nil, usagef(cmd, "--reset: there is no setting %q", name)
		}
		if held(settings, path) {
			return nil, usagef(cmd, "--reset %s contradicts what is set", name)
		}
		put(settings, path, nil)
	}
	if len(settings) == 0 {
		return nil, usagef(cmd, "name at least one setting to change")
	}
	return json.Marshal(map[string]any{"settings": settings})
}

// resetPath finds what --reset NAME stands for; "cors" and "limits" are groups.
func resetPath(name string) []string {
	if name == "cors" || name == "limits" {
		return []string{name}
	}
	for _, s := range settingFlags {
		if s.name == name {
			return s.path
		}
	}
	return nil
}

func held(settings map[string]any, path []string) bool {
	v, ok := settings[path[0]]
	if inner, isMap := v.(map[string]any); isMap && len(path) > 1 {
		_, ok = inner[path[1]]
	}
	return ok
}

func put(settings map[string]any, path []string, v any) {
	if len(path) == 1 {
		settings[path[0]] = v
		return
	}
	inner, ok := settings[path[0]].(map[string]any)
	if !ok {
		inner = map[string]any{}
		settings[path[0]] = inner
	}
	inner[path[1]] = v
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
