package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/picloud/picloud"
)

// maxPreview is the largest value that lists of keys show, in bytes as it is kept.
const maxPreview = 1 << 10

// maxKeyCursor is longer than any cursor that holds a key is.
const maxKeyCursor = 4 * picloud.MaxKVKey

// KVStore keeps the key-value stores of apps, for people.
type KVStore interface {
	Get(ctx context.Context, actor picloud.Actor, app, key string) (picloud.KVEntry, error)
	// Put writes an entry while the key has the version of match, and returns its
	// new version. Another one is ErrPrecondition.
	Put(ctx context.Context, actor picloud.Actor, app string, entry picloud.KVEntry, match picloud.Match) (version int64, err error)
	// Delete removes a key that has the version of match.
	Delete(ctx context.Context, actor picloud.Actor, app, key string, match picloud.Match) error
	List(ctx context.Context, actor picloud.Actor, app, prefix string, page picloud.Page) (items []picloud.KVEntry, next string, err error)
}

// ListKV answers GET /apps/{app}/kv.
func (s *server) ListKV(ctx context.Context, r ListKVRequestObject) (ListKVResponseObject, error) {
	p, err := page(r.Params.Limit, nil)
	if err != nil {
		return nil, err
	}
	if r.Params.Cursor != nil {
		if len(*r.Params.Cursor) > maxKeyCursor {
			return nil, invalid("cursor", "must be the next of an earlier page")
		}
		p.Cursor = *r.Params.Cursor
	}
	var prefix string
	if r.Params.Prefix != nil {
		prefix = *r.Params.Prefix
	}
	entries, next, err := s.o.KV.List(ctx, actor(ctx), r.App, prefix, p)
	if err != nil {
		return nil, err
	}
	items := make([]KVItem, 0, len(entries))
	for _, e := range entries {
		item := kvItem(e)
		if item.Size <= maxPreview {
			if item.Value, item.Encoding, err = preview(e.Value); err != nil {
				return nil, err
			}
		}
		items = append(items, item)
	}
	return ListKV200JSONResponse{Items: items, Next: next}, nil
}

// GetKV answers GET /apps/{app}/kv/{key}.
func (s *server) GetKV(ctx context.Context, r GetKVRequestObject) (GetKVResponseObject, error) {
	key, err := keyOf(r.Key)
	if err != nil {
		return nil, err
	}
	e, err := s.o.KV.Get(ctx, actor(ctx), r.App, key)
	if err != nil {
		return nil, err
	}
	kind, body, err := decodeValue(e.Value)
	if err != nil {
		return nil, err
	}
	return value{kind: kind, body: body, entry: e}, nil
}

// keyOf reads the key from its segment of the path.
func keyOf(segment string) (string, error) {
	key := strings.TrimPrefix(segment, keyMark)
	return key, picloud.CheckKVKey(key)
}

// PutKV answers PUT /apps/{app}/kv/{key}.
func (s *server) PutKV(ctx context.Context, r PutKVRequestObject) (PutKVResponseObject, error) {
	key, err := keyOf(r.Key)
	if err != nil {
		return nil, err
	}
	e := picloud.KVEntry{Key: key}
	if e.ExpiresAt, err = expiry(r.Params.TTL, time.Now()); err != nil {
		return nil, err
	}
	kind, err := mediaOf(callOf(ctx).contentType)
	if err != nil {
		return nil, err
	}
	body, err := readBody(r.Body)
	if err != nil {
		return nil, err
	}
	if e.Value, err = encodeValue(kind, body); err != nil {
		return nil, err
	}
	match, err := s.versionToPut(ctx, r.App, key, r.Params)
	if err != nil {
		return nil, err
	}
	if e.Version, err = s.o.KV.Put(ctx, actor(ctx), r.App, e, match); err != nil {
		return nil, err
	}
	return PutKV200JSONResponse{Body: kvItem(e), Headers: PutKV200ResponseHeaders{ETag: etag(e.Version)}}, nil
}

// DeleteKV answers DELETE /apps/{app}/kv/{key}.
func (s *server) DeleteKV(ctx context.Context, r DeleteKVRequestObject) (DeleteKVResponseObject, error) {
	key, err := keyOf(r.Key)
	if err != nil {
		return nil, err
	}
	match := picloud.MatchAny
	if r.Params.IfMatch != nil {
		if match, err = s.versionOf(ctx, "delete key", r.App, key, r.Params.IfMatch); err != nil {
			return nil, err
		}
	}
	if err := s.o.KV.Delete(ctx, actor(ctx), r.App, key, match); err != nil {
		return nil, err
	}
	return DeleteKV204Response{}, nil
}

// versionToPut says which version a key must have to be written.
func (s *server) versionToPut(ctx context.Context, app, key string, p PutKVParams) (picloud.Match, error) {
	switch {
	case p.IfNoneMatch != nil && p.IfMatch != nil:
		return 0, invalid("If-None-Match", "contradicts If-Match")
	case p.IfNoneMatch != nil && strings.TrimSpace(*p.IfNoneMatch) != "*":
		return 0, invalid("If-None-Match", "must be *")
	case p.IfNoneMatch != nil:
		return picloud.MatchNone, nil
	case p.IfMatch == nil:
		return picloud.MatchAny, nil
	}
	match, err := s.versionOf(ctx, "write key", app, key, p.IfMatch)
	if errors.Is(err, picloud.ErrNotFound) {
		if _, _, unknown := s.o.Apps.Get(ctx, actor(ctx), app); unknown == nil { // else it is the app that is not found
			err = &picloud.Error{Code: picloud.CodePrecondition, Op: "write key", Resource: app + "/" + key, Detail: "there is no such key"}
		}
	}
	return match, err
}

// versionOf is the version that If-Match names. One ETag needs no look at the
// key, since the store compares.
func (s *server) versionOf(ctx context.Context, op, app, key string, ifMatch *string) (picloud.Match, error) {
	one := strings.TrimSpace(*ifMatch)
	if version, err := strconv.ParseInt(strings.Trim(one, `"`), 10, 64); err == nil && version > 0 && etag(version) == one {
		return picloud.MatchVersion(version), nil
	}
	e, err := s.o.KV.Get(ctx, actor(ctx), app, key)
	if err == nil {
		err = precondition(op, app+"/"+key, ifMatch, e.Version)
	}
	return picloud.MatchVersion(e.Version), err
}

// expiry reads ?ttl=.
func expiry(ttl *string, now time.Time) (time.Time, error) {
	if ttl == nil {
		return time.Time{}, nil
	}
	d, err := time.ParseDuration(*ttl)
	if err != nil || d < time.Millisecond || d > picloud.MaxKVTTL {
		return time.Time{}, invalid("ttl", "must be a duration such as 1h, between 1ms and "+strconv.Itoa(int(picloud.MaxKVTTL.Hours()))+"h")
	}
	return now.Add(d), nil
}

// kvItem describes an entry without its value.
func kvItem(e picloud.KVEntry) KVItem {
	item := KVItem{Key: e.Key, Version: e.Version, Size: len(e.Value)}
	if !e.ExpiresAt.IsZero() {
		at := e.ExpiresAt.UTC()
		item.ExpiresAt = &at
	}
	return item
}

// preview is a value as a part of JSON.
func preview(encoded []byte) (json.RawMessage, Encoding, error) {
	kind, body, err := decodeValue(encoded)
	if err != nil || kind == mediaJSON {
		return body, "", err
	}
	text, err := json.Marshal(body)
	return text, EncodingBase64, err
}

// value is the answer that holds the value of a key.
type value struct {
	kind  media
	body  []byte
	entry picloud.KVEntry
}

// VisitGetKVResponse writes the value as what it is.
func (v value) VisitGetKVResponse(w http.ResponseWriter) error {
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	if v.kind == mediaJSON {
		h.Set("Content-Type", "application/json")
	}
	h.Set("Content-Length", strconv.Itoa(len(v.body)))
	h.Set("ETag", etag(v.entry.Version))
	if !v.entry.ExpiresAt.IsZero() {
		h.Set("X-PiCloud-Expires-At", v.entry.ExpiresAt.UTC().Format(time.RFC3339Nano))
	}
	w.WriteHeader(http.StatusOK)
	_, err := bytes.NewReader(v.body).WriteTo(w)
	return err
}
