package risor

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/executor/wire"
)

func body(contentType, text string) func(*Call) {
	return func(c *Call) {
		c.Request.Header = c.Request.Header.AppendPair("content-type", contentType)
		c.Request.Body = []byte(text)
	}
}

func TestRequestForms(t *testing.T) {
	call, err := invoke(t, `let f = req.form(); return [f.title, f.report.text(), f.report.size, string(f.report.body), f.none, f.all("report").map(x => x.filename), f.keys(), type(f.report), "title" in f, f]`, withForm)
	require.NoError(t, err)
	require.JSONEq(t, `["Tea","id,name\n",8,"id,name\n",null,["tea.csv"],["report","title"],"file",true,
		{"report":{"content_type":"text/csv","filename":"tea.csv","name":"report","size":8},"title":"Tea"}]`, string(call.Response.Body))

	call, err = invoke(t, `return [req.form().name, req.form().all("tag"), req.form().get("no", 1)]`, body("application/x-www-form-urlencoded", "name=Ada+L&tag=x&tag=y"))
	require.NoError(t, err)
	require.JSONEq(t, `["Ada L",["x","y"],1]`, string(call.Response.Body))

	call, err = invoke(t, `return try { req.form() } catch (e) { [e.code, e.message()] }`, body("text/plain", "x"))
	require.NoError(t, err)
	require.JSONEq(t, `["form_invalid","request body: the request is not a form: its content type is \"text/plain\""]`, string(call.Response.Body))
}

// What the caller sent wrong is the caller's error, when the script does not catch it.
func TestBadRequests(t *testing.T) {
	for name, c := range map[string]struct {
		script, contentType, body, message string
	}{
		"JSON":         {`return req.json()`, "application/json", "{\n  nope", "request body: invalid JSON at line 2, column 3: unexpected 'n' instead of a name in quotes"},
		"no body":      {`return req.json().name`, "application/json", "", "request body: invalid JSON at line 1, column 1: it ends before a value"},
		"UTF-8":        {`return req.text()`, "text/plain", "ok\nü\xff", "request body: not UTF-8 at line 2, column 2"},
		"form":         {`return req.form()`, "multipart/form-data; boundary=XX", "--XX", "request body: the body of the form does not hold"},
		"thrown again": {`try { return req.json() } catch (e) { throw e } finally { log.info("x") }`, "", "x", "request body: invalid JSON"},
		"in a helper":  {`let f = () => req.json(); return [1].map(x => f())`, "", "x", "request body: invalid JSON"},
	} {
		_, err := invoke(t, c.script, body(c.contentType, c.body))
		e := reasonOf(t, err)
		require.Equal(t, wire.ReasonRequest, e.Reason, name)
		require.Contains(t, e.Message, c.message, name)
	}
	for name, script := range map[string]string{
		"other text":    `return json.parse(req.body)`,
		"an answer":     `return http.get("https://api.example.org/bytes").json()`,
		"another text":  `return http.get("https://api.example.org/bytes").text()`,
		"its own error": `try { req.json() } catch (e) { throw error(e.message()) }`,
		"something new": `try { return req.json() } catch (e) { return e.nope.nope }`,
	} {
		_, err := invoke(t, script, body("", "x"), func(c *Call) { c.Host = newNode() })
		require.Equal(t, wire.ReasonError, reasonOf(t, err).Reason, name)
	}
}
