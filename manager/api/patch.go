package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/picloud/picloud"
)

// The fields that a patch of a function, an app and a node may have.
type (
	functionPatch struct {
		Settings picloud.Settings `json:"settings"`
	}
	appPatch struct {
		Settings picloud.AppSettings `json:"settings"`
	}
	nodePatch struct {
		Limits picloud.Limits `json:"limits"`
	}
)

// readPatch reads a JSON merge patch (RFC 7396) of what T describes, and
// refuses what it cannot name. It returns the patch of each member.
func readPatch[T any](body json.RawMessage) (map[string]json.RawMessage, error) {
	if fields := (shape{patch: true}).check(reflect.TypeFor[T](), body, ""); len(fields) > 0 {
		return nil, invalidFields(fields[:min(len(fields), maxFieldErrors)])
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil {
		return nil, fmt.Errorf("read patch that was checked: %w", err)
	}
	return members, nil
}

// apply merges a patch into what is present: what it does not name stays, null
// resets to the default, lists are replaced whole. An absent patch changes nothing.
func apply[T any](present T, patch json.RawMessage) (T, error) {
	if patch == nil {
		return present, nil
	}
	target, err := json.Marshal(present)
	if err != nil {
		return present, fmt.Errorf("encode target of merge patch: %w", err)
	}
	merged, err := mergePatch(target, patch)
	if err != nil {
		return present, err
	}
	var out T
	if err := json.Unmarshal(merged, &out); err != nil {
		return present, &picloud.Error{Code: picloud.CodeInvalid, Detail: "the merged settings do not fit the contract", Err: err}
	}
	return out, nil
}

// within names the fields of an error as the body does that has them in member.
func within(member string, err error) error {
	var e *picloud.Error
	if !errors.As(err, &e) {
		return err
	}
	fields := make([]picloud.FieldError, 0, len(e.Fields))
	for _, f := range e.Fields[:min(len(e.Fields), maxFieldErrors)] {
		fields = append(fields, picloud.FieldError{Field: join(member, f.Field), Message: f.Message})
	}
	return invalidFields(fields)
}

// mergePatch applies a JSON merge patch. Numbers keep all their digits.
func mergePatch(target, patch []byte) ([]byte, error) {
	t, err := decodeAny(target)
	if err != nil {
		return nil, fmt.Errorf("read target of merge patch: %w", err)
	}
	p, err := decodeAny(patch)
	if err != nil {
		return nil, fmt.Errorf("read merge patch: %w", err)
	}
	out, err := json.Marshal(merge(t, p))
	if err != nil {
		return nil, fmt.Errorf("encode merged patch: %w", err)
	}
	return out, nil
}

func merge(target, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	t, ok := target.(map[string]any)
	if !ok {
		t = map[string]any{}
	}
	for name, value := range p {
		if value == nil {
			delete(t, name)
		} else {
			t[name] = merge(t[name], value)
		}
	}
	return t
}

func decodeAny(b []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	err = d.Decode(&v)
	return v, err
}

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
