package examples_test

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"strings"
	"time"
)

// The cases of the examples that ask the node for something.
func init() { maps.Copy(cases, nodeCases) }

var nodeCases = map[string][]example{
	"github": {
		{
			name: "shown", request: hook("ping", "1", `{"zen":"Keep it logically awesome."}`), on: hookSecret,
			body: `{"event":"ping","text":"pong: Keep it logically awesome."}`, logs: []string{"pong: Keep it logically awesome."},
		},
		{
			name: "push", request: hook("push", "2", `{"ref":"refs/heads/main","repository":{"full_name":"a/b"},"sender":{"login":"ada"},"head_commit":{"message":"fix:\nit"}}`),
			on: hookSecret, body: `{"event":"push","text":"ada pushed to a/b main: fix: it"}`, logs: []string{"ada pushed to a/b main: fix: it"},
		},
		{name: "odd fields", request: hook("issues", "3", `{"issue":7,"sender":[]}`), on: hookSecret, has: "issue # of", logs: []string{"  issue # of : "}},
		{name: "twice", request: hook("ping", "1", `{}`), before: []request{hook("ping", "1", `{}`)}, on: hookSecret, body: `{"event":"duplicate","text":""}`},
		{name: "changed", request: func() request { r := hook("ping", "1", `{}`); r.body = `{ }`; return r }(), on: hookSecret, status: 401, has: "not GitHub's", logs: []string{"bad signature"}},
		{name: "unsigned", request: request{body: `{}`}, on: hookSecret, status: 401, has: "not GitHub's", logs: []string{"bad signature"}},
		{name: "a form", request: hook("ping", "1", `payload=x`), on: hookSecret, status: 400, has: "application/json"},
	},

	"shorten": {
		{name: "shown", request: link("https://example.org/a/very/long/path", "/"), on: token("SHORTEN_TOKEN"), status: 201, has: `"path":"/fn/default/example/`},
		{name: "named", request: link("https://example.org", "/docs"), on: token("SHORTEN_TOKEN"), status: 201, body: `{"code":"docs","path":"/fn/default/example/docs"}`},
		{name: "taken", request: link("https://example.org", "/docs"), before: []request{link("https://example.com", "/docs")}, on: token("SHORTEN_TOKEN"), status: 409, has: "taken"},
		{
			name: "follow", request: request{target: "/docs"}, before: []request{link("https://example.com/x", "/docs")}, on: token("SHORTEN_TOKEN"), status: 302,
			answer: map[string]string{"location": "https://example.com/x", "cache-control": "no-store"},
		},
		{name: "count", request: request{target: "/docs+"}, before: []request{link("https://example.com", "/docs"), {target: "/docs"}, {target: "/docs"}}, on: token("SHORTEN_TOKEN"), has: `"hits":2`},
		{name: "no token", request: request{body: "https://example.org"}, on: token("SHORTEN_TOKEN"), status: 401, has: "token"},
		{name: "script", request: link("javascript:alert(1)", "/"), on: token("SHORTEN_TOKEN"), status: 400, has: "https://"},
		{name: "unknown", request: request{target: "/nope"}, status: 404, has: "no such link"},
		{name: "method", request: request{method: "PUT", target: "/docs"}, status: 405, answer: map[string]string{"allow": "GET, HEAD, POST"}, has: "GET"},
	},

	"proxy": {
		{
			name: "shown", request: request{target: weather}, on: weatherService, body: `{"current":{"temperature_2m":21.5}}`,
			answer: map[string]string{"x-cache": "miss", "content-type": "application/json"},
			sent:   []string{"GET https://api.open-meteo.com/v1/forecast?current=temperature_2m&latitude=48.2&longitude=16.4"},
		},
		{
			name: "kept", request: request{target: weather + "&apikey=x"}, before: []request{{target: weather}}, on: weatherService, body: `{"current":{"temperature_2m":21.5}}`,
			answer: map[string]string{"x-cache": "hit"},
		},
		{
			name: "too often", request: request{target: weather}, before: slicesRepeat(request{target: weather}, 61), on: weatherService, status: 429,
			answer: map[string]string{"retry-after": "60"}, has: "too many",
		},
		{name: "down", request: request{target: weather}, status: 502, has: "does not answer", logs: []string{"upstream failed"}},
		{name: "refused", request: request{target: "/?latitude=0&longitude=0"}, on: weatherService, status: 502, has: "answered 400", logs: []string{"upstream refused"}},
		{name: "nowhere", request: request{target: "/?latitude=1"}, status: 400, has: "missing"},
		{name: "method", request: request{method: "POST"}, status: 405, answer: map[string]string{"allow": "GET"}, has: "GET"},
	},

	"rss": {
		{
			name: "shown", request: request{target: "/?feed=go&limit=1"}, on: feeds,
			body: `{"feed":"go","items":[{"link":"https://go.dev/blog/x","published":"2026-02-10T00:00:00Z","text":"Faster & smaller","title":"Go 1.26"}]}`,
		},
		{
			name: "rss", request: request{target: "/?feed=pi"}, on: feeds,
			body: `{"feed":"pi","items":[{"link":"https://www.raspberrypi.com/news/a","published":"2026-03-02T09:30:00+01:00","text":"It has <tags> & more","title":"A & B"},` +
				`{"link":"","published":null,"text":"","title":"bare"}]}`,
		},
		{name: "kept", request: request{target: "/?feed=go"}, before: []request{{target: "/?feed=go"}}, on: feeds, has: "Go 1.26", sent: []string{}},
		{name: "unknown", request: request{target: "/?feed=x"}, status: 404, has: "go, pi"},
		{name: "limit", request: request{target: "/?feed=go&limit=x"}, status: 400, has: "1 to 50"},
		{name: "down", request: request{target: "/?feed=go"}, status: 502, has: "cannot be read", logs: []string{"feed failed"}},
	},

	"uptime": {
		{name: "shown", on: sites("https://example.org", 200), has: `"status":200,"up":true,"url":"https://example.org"}`, sent: []string{"HEAD https://example.org"}},
		{name: "down from the start", on: sites("https://example.org", 503), has: `"status":503,"up":false`, logs: []string{"https://example.org is down: 503"}, sent: []string{"HEAD https://example.org", "POST https://ntfy.sh/t https://example.org is down: 503"}},
		{
			name: "no host", on: func(h *host) { sites("https://example.com", 200)(h); delete(h.pages, "HEAD https://example.com") }, has: `"status":"egress_denied","up":false`,
			logs: []string{"https://example.com is down: egress_denied"},
		},
		{name: "a minute", before: []request{{}}, on: sites("https://example.org", 200), has: `"up":true`, sent: []string{}},
		{name: "under way", on: func(h *host) { sites("https://example.org", 200)(h); h.put("uptime:lock", true) }, status: 503, has: "under way"},
		{name: "not set", status: 500, has: "set SITES"},
	},

	"contact": {
		{
			name: "shown", request: request{body: "name=Ada&email=ada@example.org&message=Hello+there"}, on: mailbox(200), body: `{"sent":true}`, logs: []string{"message sent"},
			sent: []string{`POST https://api.resend.com/emails {"from":"web@example.org","reply_to":"ada@example.org","subject":"Message from Ada","text":"Hello there\n\nAda <ada@example.org>","to":["me@example.org"]}`},
		},
		{
			name: "header", request: request{body: "name=A%0D%0ABcc:+x@y.z&email=a@b.cc&message=Hello"}, on: mailbox(200), body: `{"sent":true}`, logs: []string{"message sent"},
			sent: []string{`POST https://api.resend.com/emails {"from":"web@example.org","reply_to":"a@b.cc","subject":"Message from A Bcc: x@y.z","text":"Hello\n\nA Bcc: x@y.z <a@b.cc>","to":["me@example.org"]}`},
		},
		{name: "twice", request: request{body: "name=A&email=a@b.cc&message=Hello"}, before: []request{{body: "name=A&email=a@b.cc&message=Hello"}}, on: mailbox(200), body: `{"sent":true}`, sent: []string{}},
		{name: "bot", request: request{body: "name=A&email=a@b.cc&message=Hello&website=x"}, on: mailbox(200), body: `{"sent":true}`, sent: []string{}},
		{name: "failed", request: request{body: "name=A&email=a@b.cc&message=Hello"}, on: mailbox(500), status: 502, has: "later", logs: []string{"the e-mail was not sent"}},
		{name: "too many", request: request{body: "name=A&email=a@b.cc&message=Hello"}, before: slicesRepeat(request{body: "name=A&email=a@b.cc&message=Hello"}, 11), on: mailbox(200), status: 429, has: "enough"},
		{name: "address", request: request{body: "name=A&email=a@b&message=Hello"}, status: 400, has: "e-mail address"},
		{name: "empty", request: request{method: "POST"}, status: 400, has: "missing"},
	},

	"flags": {
		{
			name: "shown", request: request{target: "/?user=ada"}, before: []request{flag("dark-mode", `{"on":true}`), flag("new-search", `{"on":true,"percent":0}`)}, on: token("FLAGS_TOKEN"),
			body: `{"flags":{"dark-mode":true,"new-search":false},"user":"ada"}`, answer: map[string]string{"cache-control": "max-age=30"},
		},
		{
			name: "users", request: request{target: "/?user=ada"}, before: []request{flag("a", `{"on":true,"percent":0,"users":["ada"]}`), flag("b", `{"users":["ada"]}`)}, on: token("FLAGS_TOKEN"),
			body: `{"flags":{"a":true,"b":false},"user":"ada"}`,
		},
		{name: "share", request: request{target: "/?user=user-3"}, before: []request{flag("half", `{"on":true,"percent":50}`), flag("other", `{"on":true,"percent":50}`)}, on: token("FLAGS_TOKEN"), has: `"half":`},
		{name: "set", request: flag("a", `{"on":true,"percent":20}`), on: token("FLAGS_TOKEN"), body: `{"flag":{"on":true,"percent":20,"users":[]},"name":"a"}`, logs: []string{"flag changed"}},
		{name: "no flag", request: flag("a", `{"on":1}`), on: token("FLAGS_TOKEN"), status: 400, has: "a flag is"},
		{name: "no token", request: request{method: "PUT", target: "/a", body: `{"on":true}`}, on: token("FLAGS_TOKEN"), status: 401, has: "token"},
		{name: "delete", request: request{method: "DELETE", target: "/a", header: bearer}, before: []request{flag("a", `{}`)}, on: token("FLAGS_TOKEN"), status: 204},
		{name: "delete none", request: request{method: "DELETE", target: "/a", header: bearer}, on: token("FLAGS_TOKEN"), status: 404, has: "no such"},
		{name: "method", request: request{method: "POST", body: "x"}, refused: true},
		{name: "no name", request: request{method: "DELETE"}, refused: true},
	},

	"poll": {
		{name: "shown", request: request{body: "choice=tea"}, on: poll, body: `{"choices":{"coffee":0,"tea":1},"total":1,"voted":"tea"}`},
		{name: "look", before: []request{{body: "choice=coffee"}}, on: poll, body: `{"choices":{"coffee":1,"tea":0},"total":1,"voted":"coffee"}`},
		{name: "nobody", on: poll, body: `{"choices":{"coffee":0,"tea":0},"total":0,"voted":null}`},
		{name: "twice", request: request{body: "choice=tea"}, before: []request{{body: "choice=coffee"}}, on: poll, status: 409, body: `{"error":"you have voted already","voted":"coffee"}`},
		{name: "no choice", request: request{body: "choice=beer"}, on: poll, status: 400, has: "tea, coffee"},
		{name: "not set", status: 500, has: "set CHOICES"},
		{name: "method", request: request{method: "PUT"}, on: poll, status: 405, answer: map[string]string{"allow": "GET, POST"}, has: "GET"},
	},

	"iot": {
		{name: "shown", request: measure(`{"temperature":21.5,"humidity":40}`), on: token("IOT_TOKEN"), has: `"sensor":"balcony","values":2}`},
		{
			name: "hours", request: request{target: "/balcony"}, before: []request{measure(`{"t":20}`), measure(`{"t":23.5,"h":1}`)}, on: token("IOT_TOKEN"),
			has: `"h":{"max":1,"mean":1,"min":1,"n":1},"hour":"` + time.Now().UTC().Format("2006-01-02T"),
		},
		{name: "mean", request: request{target: "/balcony"}, before: []request{measure(`{"t":20}`), measure(`{"t":23.5}`)}, on: token("IOT_TOKEN"), has: `"t":{"max":23.5,"mean":21.75,"min":20,"n":2}`},
		{name: "others", request: request{target: "/cellar?hours=720"}, before: []request{measure(`{"t":20}`)}, on: token("IOT_TOKEN"), body: `{"hours":[],"sensor":"cellar"}`},
		{name: "text", request: measure(`{"t":"20"}`), on: token("IOT_TOKEN"), status: 400, has: "numbers"},
		{name: "no token", request: request{target: "/balcony", body: `{"t":1}`}, on: token("IOT_TOKEN"), status: 401, has: "token"},
		{name: "no sensor", request: request{target: "/A"}, status: 400, has: "a sensor has a name"},
		{name: "no path of it", request: request{target: "/a/b"}, refused: true},
		{name: "method", request: request{method: "PUT", target: "/balcony"}, refused: true},
	},

	"jwt": {
		{name: "shown", request: signed(jwt("RS256", "k1", claims(nil))), on: keys, has: `"email":"ada@example.org","expires":"`},
		{name: "kept", request: signed(jwt("RS256", "k1", claims(nil))), before: []request{signed(jwt("RS256", "k1", claims(nil)))}, on: keys, has: `"subject":"user-7"`, sent: []string{}},
		{name: "audiences", request: signed(jwt("RS256", "k1", claims(map[string]any{"aud": []string{"x", "my-app"}}))), on: keys, has: "user-7"},
		{name: "none", request: signed(jwt("none", "k1", claims(nil))), on: keys, status: 401, has: "signed in another way", logs: []string{"token refused"}},
		{name: "the key as a secret", request: signed(jwt("HS256", "k1", claims(nil))), on: keys, status: 401, has: "signed in another way", logs: []string{"token refused"}},
		{name: "changed", request: signed(strings.Replace(jwt("RS256", "k1", claims(nil)), ".ey", ".eyJ9", 1)), on: keys, status: 401, has: "signature is wrong", logs: []string{"token refused"}},
		{name: "expired", request: signed(jwt("RS256", "k1", claims(map[string]any{"exp": 1}))), on: keys, status: 401, has: "expired", logs: []string{"token refused"}},
		{name: "early", request: signed(jwt("RS256", "k1", claims(map[string]any{"nbf": time.Now().Add(time.Hour).Unix()}))), on: keys, status: 401, has: "not valid yet", logs: []string{"token refused"}},
		{name: "issuer", request: signed(jwt("RS256", "k1", claims(map[string]any{"iss": "https://evil.example"}))), on: keys, status: 401, has: "somebody else made", logs: []string{"token refused"}},
		{name: "audience", request: signed(jwt("RS256", "k1", claims(map[string]any{"aud": "other"}))), on: keys, status: 401, has: "for somebody else", logs: []string{"token refused"}},
		{
			name: "unknown key", request: signed(jwt("RS256", "k2", claims(nil))), before: []request{signed(jwt("RS256", "k1", claims(nil))), signed(jwt("RS256", "k2", claims(nil)))}, on: keys,
			status: 401, has: "key is not known", logs: []string{"token refused"}, sent: []string{},
		},
		{name: "service down", request: signed(jwt("RS256", "k1", claims(nil))), on: func(h *host) { keys(h); h.pages = nil }, status: 503, has: "cannot be checked", logs: []string{"the token cannot be checked"}},
		{name: "missing", status: 401, answer: map[string]string{"www-authenticate": "Bearer"}, has: "missing"},
		{
			name: "half set up", request: signed(jwt("RS256", "k1", map[string]any{"sub": "user-7", "exp": time.Now().Add(time.Hour).Unix()})), on: func(h *host) { keys(h); h.env = map[string]any{"JWKS": h.env["JWKS"]} },
			status: 500, has: "set JWKS, ISSUER and AUDIENCE", sent: []string{},
		},
		{name: "nonsense", request: signed("a.b"), on: keys, status: 401, has: "no token", logs: []string{"token refused"}},
	},
}

var bearer = map[string]string{"authorization": "Bearer t0ken"}

func token(name string) func(*host) {
	return func(h *host) { h.secrets = map[string]string{name: "t0ken"} }
}

func slicesRepeat(r request, n int) []request {
	all := make([]request, n)
	for i := range all {
		all[i] = r
	}
	return all
}

func hookSecret(h *host) {
	h.secrets = map[string]string{"GITHUB_WEBHOOK_SECRET": "a long random text"}
}

func hook(event, delivery, body string) request {
	mac := hmac.New(sha256.New, []byte("a long random text"))
	_, _ = mac.Write([]byte(body))
	return request{body: body, header: map[string]string{
		"x-github-event": event, "x-github-delivery": delivery, "x-hub-signature-256": "sha256=" + hex.EncodeToString(mac.Sum(nil)),
	}}
}

func link(url, path string) request { return request{target: path, body: url, header: bearer} }

const weather = "/?latitude=48.2&longitude=16.4&current=temperature_2m"

func weatherService(h *host) {
	const api = "GET https://api.open-meteo.com/v1/forecast?"
	h.pages = map[string]page{
		api + "current=temperature_2m&latitude=48.2&longitude=16.4": {header: "Content-Type: application/json", body: `{"current":{"temperature_2m":21.5}}`},
		api + "latitude=0&longitude=0":                              {status: 400},
	}
}

func feeds(h *host) {
	h.pages = map[string]page{
		"GET https://go.dev/blog/feed.atom": {body: `<?xml version="1.0"?><feed><title>The Go Blog</title>
<entry><title>Go 1.26</title><link rel="alternate" href="/blog/x"></link><published>2026-02-10T00:00:00+00:00</published>
<summary type="html">Faster &amp;amp; smaller</summary></entry><entry ><title>old</title></entry></feed>`},
		"GET https://www.raspberrypi.com/news/feed/": {body: `<rss><channel><title>News</title><item><title>A &amp; B</title>
<link>https://www.raspberrypi.com/news/a</link><pubDate>Mon, 02 Mar 2026 09:30:00 +0100</pubDate>
<description><![CDATA[<p>It has &lt;tags&gt;<br/> &amp; more</p>]]></description></item><item><title>bare</title></item></channel></rss>`},
	}
}

func sites(site string, status int) func(*host) {
	return func(h *host) {
		h.env = map[string]any{"SITES": site, "ALERT_URL": "https://ntfy.sh/t"}
		h.pages = map[string]page{"HEAD " + site: {status: status}, "POST https://ntfy.sh/t": {}}
	}
}

func mailbox(status int) func(*host) {
	return func(h *host) {
		h.env = map[string]any{"MAIL_FROM": "web@example.org", "MAIL_TO": "me@example.org"}
		h.secrets = map[string]string{"RESEND_API_KEY": "key"}
		h.pages = map[string]page{"POST https://api.resend.com/emails": {status: status}}
	}
}

func flag(name, body string) request {
	return request{method: "PUT", target: "/" + name, body: body, header: bearer}
}

func poll(h *host) { h.env = map[string]any{"CHOICES": "tea coffee"} }

func measure(body string) request {
	return request{target: "/balcony", body: body, header: bearer}
}

// signing is the key of a sign-in service.
var signing = func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}()

func keys(h *host) {
	h.env = map[string]any{"JWKS": "https://id.example.org/jwks", "ISSUER": "https://id.example.org", "AUDIENCE": "my-app"}
	enc := base64.RawURLEncoding.EncodeToString
	h.pages = map[string]page{"GET https://id.example.org/jwks": {body: fmt.Sprintf(`{"keys":[{"kty":"EC","kid":"other"},{"kty":"RSA","kid":"k1","n":%q,"e":%q}]}`,
		enc(signing.N.Bytes()), enc(big.NewInt(int64(signing.E)).Bytes()))}}
}

func claims(with map[string]any) map[string]any {
	all := map[string]any{"sub": "user-7", "email": "ada@example.org", "iss": "https://id.example.org", "aud": "my-app", "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(all, with)
	return all
}

func jwt(algorithm, kid string, claims map[string]any) string {
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	text := part(map[string]any{"alg": algorithm, "kid": kid}) + "." + part(claims)
	digest := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(nil, signing, crypto.SHA256, digest[:])
	if err != nil {
		panic(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func signed(token string) request {
	return request{header: map[string]string{"authorization": "Bearer " + token}}
}
