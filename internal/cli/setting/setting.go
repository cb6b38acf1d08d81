package setting

import (
	"strconv"
	"strings"
	"time"

	"github.com/picloud/picloud"
)

// Setting is one flag of `picloud function set`, `app set` or `node set`.
type Setting struct {
	name  string
	usage string
	path  []string                  // in the settings document
	parse func(string) (any, error) // of the flag's text, into what JSON holds
	list  bool                      // the flag can be repeated, which is as a comma
}

// Limits are the limits, which functions, apps and nodes have alike.
func Limits() []Setting {
	var all []Setting
	for _, l := range picloud.LimitTable() {
		all = append(all, Setting{
			name: flagName(l.Name), path: []string{"limits", l.Name}, parse: limitParser(l),
			usage: inShort(l.Doc) + ", " + l.Least + " to " + l.Most + " (default " + initial(l) + ")",
		})
	}
	return all
}

// inShort shortens the documentation of a limit to a line of help.
func inShort(doc string) string {
	doc, _, _ = strings.Cut(doc, ";")
	return strings.ReplaceAll(doc, "`", "") // pflag would take the first quoted word for the kind of value
}

// flagName is the name of a limit on the command line.
func flagName(limit string) string { return strings.ReplaceAll(limit, "_", "-") }

// limitParser returns the parser of a limit. It chooses by the form of the default.
func limitParser(l picloud.Limit) func(string) (any, error) {
	if _, err := strconv.Atoi(l.Default); err == nil {
		return parseCount
	}
	if _, err := time.ParseDuration(l.Default); err == nil {
		return parseDuration
	}
	return parseSize
}

// OfFunction are the settings of `picloud function set`.
func OfFunction() []Setting {
	return append(Limits(), []Setting{
		{"secrets", "secrets of the app that it may read, such as A,B, or \"\" for none (default all)", []string{"secrets"}, parseSecrets, true},
		{"methods", "HTTP methods it takes, such as GET,POST; HEAD comes with GET (default all)", []string{"methods"}, parseMethods, true},
		{"route", "route it takes, such as 'GET /items/{id}'; repeat it for more (default every path)", []string{"routes"}, parseRoutes, true},
		{"cors-origins", "origins whose pages may call it, or * (default none)", []string{"cors", "origins"}, parseList, true},
		{"cors-methods", "methods that those pages may use (default all that it takes)", []string{"cors", "methods"}, parseMethods, true},
		{"cors-headers", "request headers that those pages may send (default any)", []string{"cors", "headers"}, parseList, true},
		{"cors-expose", "response headers that those pages may read", []string{"cors", "expose"}, parseList, true},
		{"cors-credentials", "whether those pages may send cookies: true or false", []string{"cors", "credentials"}, parseBool, false},
		{"cors-max-age", "how long browsers keep a preflight's answer (default 10m)", []string{"cors", "max_age"}, parseDuration, false},
	}...)
}

// OfApp are the settings of `picloud app set`.
func OfApp() []Setting {
	return append(Limits(), []Setting{
		{"kv-bytes", "what the app may keep in its key-value store, up to 16GiB (default 64MiB)", []string{"kv", "bytes"}, parseSize, false},
		{"kv-keys", "how many keys it may have there, up to 10000000 (default 100000)", []string{"kv", "keys"}, parseCount, false},
	}...)
}
