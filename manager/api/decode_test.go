package api

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/manager/api/client"
)

// bodies are all types that requests are decoded into.
var bodies = []any{
	client.NewApp{}, client.NewMember{}, client.MemberPatch{}, client.NewUser{}, client.NewFunction{}, functionPatch{}, appPatch{}, nodePatch{}, picloud.Env{}, client.NewDeployment{}, client.NewRollback{}, client.Draft{},
}

// FuzzDecode feeds foreign bytes to everything that reads bodies. What it
// accepts must be what encoding/json understands, with no field lost; what it
// refuses must be an error of the catalogue.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"name":"x"}`, `{"name":"x","settings":{"limits":{"timeout":"5s","memory":"64MiB","queue":1e3},"cors":{"origins":["*"]}}}`,
		`{"user":"a","role":"owner"}`, `{"versions":[{"id":1,"weight":100}]}`, `{"to":null}`, `[]`, `null`, `{"a":{"b":[[[[]]]]}}`,
		`{"source":"\ud800","request":{"headers":{"a":"b"}}}`, `{"settings":{"limits":{"memory":-1e400}}}`, "{\"name\":\"\xff\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, b := range bodies {
			v := reflect.New(reflect.TypeOf(b))
			r := httptest.NewRequest("POST", "/", bytes.NewReader(body))
			err := decodeBody(r, v.Interface(), true)
			if err != nil {
				require.Equal(t, picloud.CodeInvalid, picloud.CodeOf(err), err.Error())
				continue
			}
			strict := json.NewDecoder(bytes.NewReader(body))
			strict.DisallowUnknownFields()
			require.NoError(t, strict.Decode(reflect.New(reflect.TypeOf(b)).Interface()))
		}
		if patch, err := readPatch[functionPatch](body); err == nil {
			_, _ = apply(picloud.Settings{Limits: picloud.Limits{Queue: 7}, Methods: []string{"GET"}}, patch["settings"])
		}
		if patch, err := readPatch[appPatch](body); err == nil {
			_, _ = apply(picloud.AppSettings{KV: picloud.KVQuota{Keys: 7}}, patch["settings"])
		}
		if patch, err := readPatch[nodePatch](body); err == nil {
			_, _ = apply(picloud.Limits{Queue: 7}, patch["limits"])
		}
	})
}

func FuzzMergePatch(f *testing.F) {
	f.Add([]byte(`{"a":{"b":1}}`), []byte(`{"a":{"b":null,"c":2}}`))
	f.Add([]byte(`[1]`), []byte(`{"a":null}`))
	f.Fuzz(func(t *testing.T, target, patch []byte) {
		if !json.Valid(target) || !json.Valid(patch) {
			return
		}
		once, err := mergePatch(target, patch)
		require.NoError(t, err)
		twice, err := mergePatch(once, patch)
		require.NoError(t, err)
		require.Equal(t, string(once), string(twice), "a merge patch is idempotent")
	})
}

// The examples of RFC 7396, appendix A.
func TestMergePatch(t *testing.T) {
	for _, tt := range [][3]string{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`["a","b"]`, `["c","d"]`, `["c","d"]`},
		{`{"a":"b"}`, `["c"]`, `["c"]`},
		{`{"a":"foo"}`, `null`, `null`},
		{`{"a":"foo"}`, `"bar"`, `"bar"`},
		{`{"e":null}`, `{"a":1}`, `{"e":null,"a":1}`},
		{`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
		{`{"n":9007199254740993}`, `{}`, `{"n":9007199254740993}`},
	} {
		got, err := mergePatch([]byte(tt[0]), []byte(tt[1]))
		require.NoError(t, err)
		require.JSONEq(t, tt[2], string(got))
	}
}

func TestWrongFieldsAreAllNamed(t *testing.T) {
	var v client.NewFunction
	err := decode([]byte(`{"name":1,"settings":{"methods":["GET",2],"limits":{"timeout":true,"size":1},"cors":[]}}`), &v)
	var e *picloud.Error
	require.ErrorAs(t, err, &e)
	var fields []string
	for _, f := range e.Fields {
		fields = append(fields, f.Field)
	}
	require.Equal(t, []string{"name", "settings.cors", "settings.limits.size", "settings.limits.timeout", "settings.methods[1]"}, fields)
}
