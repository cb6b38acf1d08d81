package api

import (
	"errors"
	"strconv"
	"strings"

	"github.com/picloud/picloud"
)

// updateAttempts bounds how often a change without If-Match is made again
// because somebody else's came between.
const updateAttempts = 10

// onTop makes a change that reads, merges, and writes only on top of the
// revision that it read. Without If-Match it is made again when somebody else's
// came between.
func onTop[T any](ifMatch *string, change func() (T, error)) (T, error) {
	for attempt := 1; ; attempt++ {
		out, err := change()
		if !errors.Is(err, picloud.ErrPrecondition) || ifMatch != nil || attempt == updateAttempts {
			return out, err
		}
	}
}

// precondition checks that what was read is what If-Match names.
func precondition(op, resource string, ifMatch *string, rev int64) error {
	if ifMatch == nil || matches(*ifMatch, etag(rev)) {
		return nil
	}
	return &picloud.Error{
		Code: picloud.CodePrecondition, Op: op, Resource: resource,
		Detail: "its ETag is " + etag(rev), Hint: "read it again and repeat the change",
	}
}

// etag names a state by its revision or version.
func etag(rev int64) string { return strconv.Quote(strconv.FormatInt(rev, 10)) }

// matches compares If-Match with an ETag, strongly (RFC 9110, 13.1.1).
func matches(ifMatch, etag string) bool {
	for candidate := range strings.SplitSeq(ifMatch, ",") {
		if c := strings.TrimSpace(candidate); c == etag || c == "*" {
			return true
		}
	}
	return false
}
