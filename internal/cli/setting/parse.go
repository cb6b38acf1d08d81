package setting

import (
	"strconv"
	"strings"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/cli/failure"
)

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
		return nil, failure.UsageText(s, "a number")
	}
	return n, nil
}

func parseBool(s string) (any, error) {
	b, err := strconv.ParseBool(s)
	if err != nil {
		return nil, failure.UsageText(s, "true or false")
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
		return nil, failure.UsageText(s, "a list such as A,B")
	}
	return items, nil
}
