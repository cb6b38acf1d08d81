package agent

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres/managed"
	"github.com/picloud/picloud/internal/seal"
	"github.com/picloud/picloud/internal/testdb"
)

// leakySource shows its secret wherever a function can.
const leakySource = `function handle(req) {
  let s = secrets.get("TOKEN")
  log.info("info " + s, {field: s, list: [s, {deep: s}], bytes: bytes(s), b64: base64.encode(s), hex: hex.encode(s), url: url.escape(s)})
  log.error(base64.encode("user:" + s))
  if (req.path == "/throw") { throw "thrown " + s }
  return "handed out"
}`

// TestNoPlaintextOfSecretsIsKept: not in a dump of the database, not in the
// node's folder, not in logs, records and errors.
func TestNoPlaintextOfSecretsIsKept(t *testing.T) {
	server := testdb.Server(t)
	dir := testdb.Dir(t)
	a := startAgent(t, dir, server.DSN()).ready()
	const secret = "S3cret/value+that is \"nowhere\" & #7"
	a.deploy("leaky", leakySource)
	a.setSecret("default", "TOKEN", "older-"+secret)
	a.setSecret("default", "TOKEN", secret)
	_, err := a.database.Env().Replace(t.Context(), testAdmin, "default", picloud.Env{"CONTROL": "a-variable-is-readable"}, 0)
	require.NoError(t, err)
	a.answers("leaky", "handed out")
	resp, body := a.do(http.MethodGet, a.functions.URL+"/fn/default/leaky/throw?x="+secret[:6], "")
	require.Equal(t, http.StatusInternalServerError, resp.StatusCode, body)
	resp, _ = a.do(http.MethodGet, a.functions.URL+"/fn/default/leaky/in/the/path/S3cret%2Fvalue+that%20is%20%22nowhere%22%20&%20%237", "")
	require.Equal(t, http.StatusOK, resp.StatusCode)
	resp, _ = a.do(http.MethodGet, a.functions.URL+"/fn/default/leaky/odd/%53%33cret%2Fvalue+that%20is%20%22nowhere%22%20&%20%237", "")
	require.Equal(t, http.StatusOK, resp.StatusCode)

	_, logged := a.api(http.MethodGet, "/apps/default/functions/leaky/logs", "")
	require.Contains(t, logged, "info [secret TOKEN]")
	require.Contains(t, logged, "thrown [secret TOKEN]")
	_, records := a.api(http.MethodGet, "/invocations?app=default", "")
	require.Contains(t, records, "PC1203")
	require.Contains(t, records, "/in/the/path/[secret TOKEN]")
	require.Contains(t, records, "/odd/%5Bsecret%20TOKEN%5D")

	found, err := managed.Find(t.Context(), "")
	require.NoError(t, err)
	bin, err := filepath.EvalSymlinks(filepath.Join(found.Dir, "postgres"))
	require.NoError(t, err)
	dump, err := exec.CommandContext(t.Context(), filepath.Join(filepath.Dir(bin), "pg_dump"), "--inserts", "--dbname="+server.DSN()).Output()
	require.NoError(t, err)
	require.Contains(t, string(dump), "a-variable-is-readable", "the dump has the app")
	require.Contains(t, string(dump), "'TOKEN'", "and the secret")
	a.Stop() // logs are flushed

	texts := map[string][]byte{"dump": dump, "logs of the API": []byte(logged), "records": []byte(records)}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			texts[path], err = os.ReadFile(path)
		}
		return err
	}))
	manifest := string(texts[filepath.Join(dir, "catalog", "manifest.json")])
	require.Contains(t, manifest, "a-variable-is-readable")
	require.Contains(t, manifest, "TOKEN")
	require.Contains(t, string(texts[filepath.Join(dir, "logs", "default.log")]), "[secret TOKEN]")
	for where, text := range texts {
		for _, form := range []string{
			secret, "S3cret", "nowhere", hex.EncodeToString([]byte(secret)), hex.EncodeToString([]byte("S3cret")),
			base64.StdEncoding.EncodeToString([]byte(secret))[:8], base64.StdEncoding.EncodeToString([]byte("user:" + secret))[8:20],
		} {
			require.False(t, bytes.Contains(bytes.ToLower(text), []byte(strings.ToLower(form))), "%s has %q", where, form)
		}
	}

	// The key is in its file alone, which is private, and opens what the disk has.
	key, err := os.ReadFile(seal.Path(dir))
	require.NoError(t, err)
	_, digits, _ := strings.Cut(strings.TrimSpace(string(key)), ":")
	raw, err := hex.DecodeString(digits)
	require.NoError(t, err)
	for where, text := range texts {
		if where != seal.Path(dir) {
			require.NotContains(t, string(text), digits, where)
			require.NotContains(t, string(text), string(raw), where)
			require.NotContains(t, string(text), base64.StdEncoding.EncodeToString(raw), where)
		}
	}
}

// TestErrorsForCallersHideSecrets: who calls a function reads what was wrong
// with its answer, and a secret may be in it.
func TestErrorsForCallersHideSecrets(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), testdb.DSN(t)).ready()
	a.deploy("f", `function handle(req) {
  let s = secrets.get("TOKEN")
  return if (req.query.where == "status") { {status: s, body: ""} } else { {headers: {x: s + "\n"}, body: ""} }
}`)
	a.setSecret("default", "TOKEN", "value-of-the-token")
	for _, where := range []string{"status", "header"} {
		var body string
		require.Eventually(t, func() bool {
			_, body = a.do(http.MethodGet, a.functions.URL+"/fn/default/f?where="+where, "")
			return !strings.Contains(body, "PC1203") // the secret has come
		}, 2*time.Second, time.Millisecond)
		require.Contains(t, body, "[secret TOKEN]")
		require.NotContains(t, body, "value-of")
	}
}

// TestANodeWithoutTheKey serves, tells, and has secrets once the file is there.
func TestANodeWithoutTheKey(t *testing.T) {
	dsn := testdb.DSN(t)
	first := testdb.Dir(t)
	a := startAgent(t, first, dsn, onPorts(t)).ready()
	a.deploy("s", secretSource)
	a.deploy("hello", helloSource)
	a.setSecret("default", "TOKEN", "the-value")
	a.answers("s", "the-value")
	require.Equal(t, seal.Path(first), a.Status().ClusterKey, "this start made it")
	require.NotContains(t, fmt.Sprintf("%+v", a.Status()), "picloud-cluster-key")

	second, opts := a.member("pi-2")
	require.NoError(t, os.Remove(seal.Path(second)))
	b := startAgent(t, second, "", opts...)
	<-b.Ready()
	require.Eventually(t, func() bool { return b.database.closed() == nil }, 10*time.Second, time.Millisecond)
	require.NoFileExists(t, seal.Path(second), "only the first node of a database makes a key")
	b.answers("s", "error secret_unavailable")
	status, _ := b.call("hello")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, picloud.CodeSecrets, picloud.CodeOf(b.Status().Secrets))
	_, err := b.vault.FreshKey("default")
	require.Equal(t, picloud.CodeSecrets, picloud.CodeOf(err))
	_, err = b.vault.Seal("default", "TOKEN", []byte("x"), []byte("value"))
	require.Equal(t, picloud.CodeSecrets, picloud.CodeOf(err))
	a.answers("s", "the-value")
	f := keyFinding(t.Context(), Options{DataDir: second, DatabaseURL: dsn})
	require.Equal(t, "fail", f.State)
	require.Contains(t, f.Remedy, "copy cluster.key")

	// The key of another cluster is not a valid key.
	require.NoError(t, seal.Generate().Save(second))
	require.Never(t, func() bool { _, body := b.call("s"); return body != "error secret_unavailable" }, 50*time.Millisecond, 5*time.Millisecond)
	f = keyFinding(t.Context(), Options{DataDir: second, DatabaseURL: dsn})
	require.Equal(t, "fail", f.State)
	require.Contains(t, f.Detail, "another cluster")

	key, err := os.ReadFile(seal.Path(first))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(seal.Path(second), key, 0o600))
	require.Eventually(t, func() bool { _, body := b.call("s"); return body == "the-value" }, 10*time.Second, 5*time.Millisecond, "without a restart")
	f = keyFinding(t.Context(), Options{DataDir: second, DatabaseURL: dsn})
	require.Equal(t, "ok", f.State, f.Detail)
	require.NoError(t, b.Status().Secrets)
	require.Empty(t, b.Status().ClusterKey)

	// Readable by others is as good as missing, and says how to mend it.
	require.NoError(t, os.Chmod(seal.Path(second), 0o644))
	f = keyFinding(t.Context(), Options{DataDir: second, DatabaseURL: dsn})
	require.Equal(t, "chmod 600 "+seal.Path(second), f.Remedy)
}
