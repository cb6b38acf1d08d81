package module_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/executor/risor"
	"github.com/picloud/picloud/executor/risor/module"
	"github.com/picloud/picloud/executor/wire"
)

// invoke runs the handler of a script and returns the body of the response.
func invoke(t *testing.T, source string) (string, error) {
	t.Helper()
	p, err := risor.Compile([]byte(source))
	require.NoError(t, err)
	call := &risor.Call{
		Access:  module.Access{Request: &wire.Invocation{}},
		Handler: "handle", Deadline: time.Now().Add(10 * time.Second), MaxResponse: 8 << 20,
	}
	err = p.Invoke(call)
	return string(call.Response.Body), err
}

func TestRegexpsAreKept(t *testing.T) {
	const source = "const re = regexp.compile(\"^a+$\")\nfunction handle(req) { return [re.test(\"aaa\"), re.test(\"b\"), regexp.compile(\"[a-c]{900}[0-9]{900}\").test(\"b\")] }"
	for range 3 {
		body, err := invoke(t, source)
		require.NoError(t, err)
		require.Equal(t, "[true,false,false]", body)
	}
	require.Contains(t, module.Patterns(), "^a+$")
	require.NotContains(t, module.Patterns(), "[a-c]{900}[0-9]{900}")
	_, err := invoke(t, `function handle(req) { range(500).each(i => regexp.compile("x" + string(i))) }`)
	require.NoError(t, err)
	require.LessOrEqual(t, len(module.Patterns()), module.MaxPatterns)
	_, err = invoke(t, `function handle(req) { regexp.compile("(") }`)
	require.ErrorContains(t, err, "missing closing )")
	_, err = invoke(t, `function handle(req) { regexp.compile() }`)
	require.ErrorContains(t, err, "expected 1 argument")
}
