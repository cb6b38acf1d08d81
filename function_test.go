package picloud

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSettingsNameEveryFieldThatIsWrong(t *testing.T) {
	ok := Settings{
		Limits: Limits{Timeout: Duration(10 * time.Millisecond), Memory: 2 << 30, Concurrency: 1000, Queue: 1, RequestBody: 1, ResponseBody: 64 << 20},
		CORS:   &CORS{Origins: []string{"https://example.org:8443"}, Headers: []string{"*"}, Credentials: true, MaxAge: Duration(24 * time.Hour)},
	}
	require.NoError(t, ok.Check())
	require.NoError(t, Settings{}.Check(), "the zero value is the defaults")
	for field, s := range map[string]Settings{
		"limits.timeout":       {Limits: Limits{Timeout: Duration(9 * time.Millisecond)}},
		"limits.memory":        {Limits: Limits{Memory: 2<<30 + 1}},
		"limits.concurrency":   {Limits: Limits{Concurrency: -1}},
		"limits.queue":         {Limits: Limits{Queue: 10_001}},
		"limits.request_body":  {Limits: Limits{RequestBody: 64<<20 + 1}},
		"limits.response_body": {Limits: Limits{ResponseBody: -1}},
		"limits.log_bytes":     {Limits: Limits{LogBytes: 1<<20 + 1}},
		"limits.host_calls":    {Limits: Limits{HostCalls: 10_001}},
		"methods":              {Methods: []string{"get"}},
		"cors.methods":         {CORS: &CORS{Origins: []string{"*"}, Methods: []string{"TRACE"}}},
		"cors.origins":         {CORS: &CORS{Origins: []string{"https://example.org/path"}}},
		"cors.credentials":     {CORS: &CORS{Origins: []string{"*"}, Credentials: true}},
		"cors.headers":         {CORS: &CORS{Origins: []string{"*"}, Expose: []string{"x y"}}},
		"cors.max_age":         {CORS: &CORS{Origins: []string{"*"}, MaxAge: Duration(25 * time.Hour)}},
	} {
		err := s.Check()
		require.ErrorIs(t, err, ErrInvalid, field)
		var e *Error
		require.ErrorAs(t, err, &e)
		require.Len(t, e.Fields, 1, field)
		require.Equal(t, field, e.Fields[0].Field)
	}
	for _, origins := range [][]string{nil, {"*", "https://a.example"}, {"ftp://a.example"}, {"https://"}, {"https://me@a.example"}, {"null"}} {
		require.Error(t, Settings{CORS: &CORS{Origins: origins}}.Check(), "%q", origins)
	}
}
