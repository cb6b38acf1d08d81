package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/picloud/picloud"
)

// functionPatch is a JSON merge patch (RFC 7396) of a function, as far as one
// can be changed.
type functionPatch struct {
	Settings json.RawMessage `json:"settings"`
}

// patchable is what a patch may name.
type patchable struct {
	Settings picloud.Settings `json:"settings"`
}

// readPatch refuses what cannot be patched.
func readPatch(body json.RawMessage) (functionPatch, error) {
	var p functionPatch
	if fields := checkFields(reflect.TypeFor[patchable](), body, ""); len(fields) > 0 {
		return p, invalidFields(fields)
	}
	if err := json.Unmarshal(body, &p); err != nil {
		return p, fmt.Errorf("read patch that was checked: %w", err)
	}
	return p, nil
}

// apply merges the patch into settings: what it does not name stays, null
// resets to the default, lists are replaced whole.
func (p functionPatch) apply(settings picloud.Settings) (picloud.Settings, error) {
	if p.Settings == nil {
		return settings, nil
	}
	present, err := json.Marshal(settings)
	if err != nil {
		return settings, fmt.Errorf("encode settings: %w", err)
	}
	merged, err := mergePatch(present, p.Settings)
	if err != nil {
		return settings, err
	}
	var out picloud.Settings
	if err := json.Unmarshal(merged, &out); err != nil {
		return settings, &picloud.Error{Code: picloud.CodeInvalid, Detail: "the merged settings do not fit the contract", Err: err}
	}
	return out, checkSettings(out)
}

// checkSettings checks the settings of a body and names their fields as the body does.
func checkSettings(s picloud.Settings) error {
	err := s.Check()
	var e *picloud.Error
	if !errors.As(err, &e) {
		return err
	}
	fields := make([]picloud.FieldError, 0, len(e.Fields))
	for _, f := range e.Fields[:min(len(e.Fields), maxFieldErrors)] {
		fields = append(fields, picloud.FieldError{Field: "settings." + f.Field, Message: f.Message})
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
