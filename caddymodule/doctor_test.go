package caddymodule

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/agent"
)

// TestFindings writes what the doctor says for people and for programs: a part
// that will not work is an error either way.
func TestFindings(t *testing.T) {
	list := []agent.Finding{{Part: "database", State: "ok", Detail: "answers"}, {Part: "sandbox: landlock", State: "warn", Detail: "off", Remedy: "another kernel"}}
	var out bytes.Buffer
	require.NoError(t, printFindings(&out, list))
	require.Equal(t, "ok    database                 answers\nwarn  sandbox: landlock        off\n                               → another kernel\n", out.String())

	out.Reset()
	refused := agent.Finding{Part: "sandbox: a", State: "warn", Detail: "off: refused", Remedy: "elsewhere"}
	again := refused
	again.Part = "sandbox: b"
	require.NoError(t, printFindings(&out, []agent.Finding{refused, again}))
	require.Equal(t, "warn  sandbox: a               off: refused\nwarn  sandbox: b               the same\n                               → elsewhere\n", out.String())
	out.Reset()

	list[1].State = "fail"
	require.EqualError(t, printFindings(&out, list), "doctor: 1 part will not work; the remedies are above")
	out.Reset()
	require.Error(t, writeFindings(&out, list))
	var got struct{ Findings []agent.Finding }
	require.NoError(t, json.Unmarshal(out.Bytes(), &got))
	require.Equal(t, list, got.Findings)
}

func TestSandboxSetting(t *testing.T) {
	opts, err := (&App{texts: texts{"data": t.TempDir(), "sandbox": "best_effort"}}).settings()
	require.NoError(t, err)
	require.Equal(t, "best_effort", opts.Sandbox)
	_, err = (&App{texts: texts{"data": t.TempDir(), "sandbox": "none"}}).settings()
	require.ErrorContains(t, err, `sandbox is "none"`)
}
