package worker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/executor/wire"
)

// The modules work inside the sandbox: random numbers without a device, time zones
// without files, keys without x509, and waiting.
func TestModulesInTheSandbox(t *testing.T) {
	a := realProcess(t, 64<<20).greet(64 << 20)
	slot := a.load(`
const pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----"
const signature = base64.decode("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg", "url")
function handle(req) {
    time.sleep("2ms")
    return [
        len(crypto.uuid7()), crypto.random(8) == crypto.random(8), len(crypto.random(65536)),
        time.parse("2026-07-01T10:00:00Z").in("Asia/Kathmandu").rfc3339,
        crypto.verify("EdDSA", pem, "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc", signature),
        html.unescape("&eacute;"), hex.encode(crypto.sha512("")[:4]),
    ]
}`)
	for range 2 {
		result := a.result(a.invoke(slot))
		require.Equal(t, `[36,false,65536,"2026-07-01T15:45:00+05:45",true,"é","cf83e135"]`, result)
	}
}

// Variables come with the load and outlive its frame.
func TestVariables(t *testing.T) {
	a := inProcess(t).greet(0)
	env, err := wire.Marshal(map[string]any{"GREETING": "hi", "EMPTY": ""})
	require.NoError(t, err)
	const source = `
const greeting = env.get("GREETING", "none")
function handle(req) {
    let all = env.all()
    all["GREETING"] = "changed"
    return [greeting, env.get("EMPTY", "x"), env.get("NOPE"), env.get("GREETING"), len(all)]
}`
	load := loadFrame(source, wire.ModeServe)
	load.Env = env
	a.send(wire.TypeLoad, 0, load)
	require.Equal(t, wire.TypeLoaded, a.next().header.Type)
	load = loadFrame(source, wire.ModeDraft) // the same script, without variables
	a.send(wire.TypeLoad, 1, load)
	require.Equal(t, wire.TypeLoaded, a.next().header.Type)
	for range 2 {
		require.Equal(t, `["hi","",null,"hi",2]`, a.result(a.invoke(0)))
		require.Equal(t, `["none","x",null,null,1]`, a.result(a.invoke(1)))
	}
}

func TestSleep(t *testing.T) {
	t.Run("as long as asked for", func(t *testing.T) {
		_, c := asking(t, 10*time.Second)
		begin := time.Now()
		require.NoError(t, c.host.Sleep(20*time.Millisecond))
		require.GreaterOrEqual(t, time.Since(begin), 20*time.Millisecond)
	})
	t.Run("not beyond the deadline", func(t *testing.T) {
		_, c := asking(t, 20*time.Millisecond)
		begin := time.Now()
		require.Equal(t, errHalted, c.host.Sleep(time.Hour))
		require.Less(t, time.Since(begin), 10*time.Second)
	})
	t.Run("not beyond a cancel", func(t *testing.T) {
		_, c := asking(t, 10*time.Second)
		done := make(chan error, 1)
		go func() { done <- c.host.Sleep(time.Hour) }()
		require.NoError(t, c.worker.receive(wire.Header{Type: wire.TypeCancel, ID: c.id}, nil, nil))
		require.Equal(t, errHalted, <-done)
		require.Equal(t, errHalted, c.host.Sleep(time.Hour))
	})
	require.ErrorContains(t, silent{}.Sleep(1), "works in a handler only")
}
