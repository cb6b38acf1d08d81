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
	"github.com/picloud/picloud/manager/api/client"
)

// maxPreview is the largest value that lists of keys show, in bytes of its stored form.
const maxPreview = 1 << 10

// What answers with values can take, in bytes: JSON writes some characters as six, and
// the text grows by doubling. A list holds 1 MiB of values before it shows some of them.
const (
	maxValueAnswer = 3 * 6 * picloud.MaxKVValue
	maxListAnswer  = 1<<20 + 3*6*picloud.MaxPageSize*maxPreview
)

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

// listKV answers GET /apps/{app}/kv.
func (a data) listKV(ctx context.Context, p listKVParams, _ none) (out answer[client.KVList], err error) {
	at, err := page(p.Limit, nil)
	if err != nil {
		return out, err
	}
	if p.Cursor != nil {
		if len(*p.Cursor) > maxKeyCursor {
			return out, invalid("cursor", "must be the value of `next` in an earlier page")
		}
		at.Cursor = *p.Cursor
	}
	var prefix string
	if p.Prefix != nil {
		prefix = *p.Prefix
	}
	entries, next, err := a.KV.List(ctx, actor(ctx), p.App, prefix, at)
	if err != nil {
		return out, err
	}
	items := make([]client.KVItem, 0, len(entries))
	for _, e := range entries {
		item := kvItem(e)
		if item.Size <= maxPreview {
			if item.Value, item.Encoding, err = preview(e.Value); err != nil {
				return out, err
			}
		}
		items = append(items, item)
	}
	return ok(client.KVList{Items: items, Next: next}), nil
}

// getKV answers GET /apps/{app}/kv/{key}.
func (a data) getKV(ctx context.Context, p ofKey, _ none) (out answer[value], err error) {
	if err := picloud.CheckKVKey(p.Key); err != nil {
		return out, err
	}
	e, err := a.KV.Get(ctx, actor(ctx), p.App, p.Key)
	if err != nil {
		return out, err
	}
	kind, body, err := decodeValue(e.Value)
	if err != nil {
		return out, err
	}
	return ok(value{kind: kind, body: body, entry: e}).with("ETag", etag(e.Version)), nil
}

// putKV answers PUT /apps/{app}/kv/{key}.
func (a data) putKV(ctx context.Context, p putKVParams, body raw) (out answer[client.KVItem], err error) {
	if err := picloud.CheckKVKey(p.Key); err != nil {
		return out, err
	}
	e := picloud.KVEntry{Key: p.Key}
	if e.ExpiresAt, err = expiry(p.TTL, time.Now()); err != nil {
		return out, err
	}
	kind, err := mediaOf(body.contentType)
	if err != nil {
		return out, err
	}
	content, err := readBody(body.reader)
	if err != nil {
		return out, err
	}
	if e.Value, err = encodeValue(kind, content); err != nil {
		return out, err
	}
	match, err := a.versionToPut(ctx, p)
	if err != nil {
		return out, err
	}
	if e.Version, err = a.KV.Put(ctx, actor(ctx), p.App, e, match); err != nil {
		return out, err
	}
	return ok(kvItem(e)).with("ETag", etag(e.Version)), nil
}

// deleteKV answers DELETE /apps/{app}/kv/{key}.
func (a data) deleteKV(ctx context.Context, p deleteKVParams, _ none) (out answer[nothing], err error) {
	if err := picloud.CheckKVKey(p.Key); err != nil {
		return out, err
	}
	match := picloud.MatchAny
	if p.IfMatch != nil {
		if match, err = a.versionOf(ctx, "delete key", p.App, p.Key, p.IfMatch); err != nil {
			return out, err
		}
	}
	if err := a.KV.Delete(ctx, actor(ctx), p.App, p.Key, match); err != nil {
		return out, err
	}
	return done(), nil
}

// versionToPut says which version a key must have to be written.
func (a data) versionToPut(ctx context.Context, p putKVParams) (picloud.Match, error) {
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
	match, err := a.versionOf(ctx, "write key", p.App, p.Key, p.IfMatch)
	if errors.Is(err, picloud.ErrNotFound) {
		if _, _, unknown := a.apps.Get(ctx, actor(ctx), p.App); unknown == nil { // else it is the app that is not found
			err = &picloud.Error{Code: picloud.CodePrecondition, Op: "write key", Resource: p.App + "/" + p.Key, Detail: "there is no such key"}
		}
	}
	return match, err
}

// versionOf is the version that If-Match names. One ETag needs no look at the
// key, since the store compares.
func (a data) versionOf(ctx context.Context, op, app, key string, ifMatch *string) (picloud.Match, error) {
	one := strings.TrimSpace(*ifMatch)
	if version, err := strconv.ParseInt(strings.Trim(one, `"`), 10, 64); err == nil && version > 0 && etag(version) == one {
		return picloud.MatchVersion(version), nil
	}
	e, err := a.KV.Get(ctx, actor(ctx), app, key)
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
	d, err := picloud.ParseDuration(*ttl)
	if err != nil || d < time.Millisecond || d > picloud.MaxKVTTL {
		return time.Time{}, invalid("ttl", "must be a duration such as 1h, between 1ms and "+strconv.Itoa(int(picloud.MaxKVTTL.Hours()))+"h")
	}
	return now.Add(d), nil
}

// kvItem describes an entry without its value.
func kvItem(e picloud.KVEntry) client.KVItem {
	item := client.KVItem{Key: e.Key, Version: e.Version, Size: len(e.Value)}
	if !e.ExpiresAt.IsZero() {
		at := e.ExpiresAt.UTC()
		item.ExpiresAt = &at
	}
	return item
}

// preview is a value as a part of JSON.
func preview(encoded []byte) (json.RawMessage, client.Encoding, error) {
	kind, body, err := decodeValue(encoded)
	if err != nil || kind == mediaJSON {
		return body, "", err
	}
	text, err := json.Marshal(body)
	return text, client.EncodingBase64, err
}

// value is the answer that holds the value of a key.
type value struct {
	kind  media
	body  []byte
	entry picloud.KVEntry
}

// send writes the value as what it is.
func (v value) send(w http.ResponseWriter) error {
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	if v.kind == mediaJSON {
		h.Set("Content-Type", "application/json")
	}
	h.Set("Content-Length", strconv.Itoa(len(v.body)))
	if !v.entry.ExpiresAt.IsZero() {
		h.Set("X-PiCloud-Expires-At", v.entry.ExpiresAt.UTC().Format(time.RFC3339Nano))
	}
	w.WriteHeader(http.StatusOK)
	_, err := bytes.NewReader(v.body).WriteTo(w)
	return err
}
