package examples_test

import "strings"

var cases = map[string][]example{
	"hello": {
		{name: "shown", request: request{target: "/?name=Ada"}, body: `{"hello":"Ada"}`},
		{name: "nobody", body: `{"hello":"world"}`},
		{name: "long", request: request{target: "/?name=" + strings.Repeat("x", 101)}, status: 400, body: `{"error":"name has at most 100 characters"}`},
		{name: "other words", request: request{target: query("name", "Ådám & <Eva>")}, body: `{"hello":"Ådám & <Eva>"}`},
	},

	"slugify": {
		{name: "shown", request: request{target: query("text", "Crème brûlée, twice")}, body: `{"slug":"creme-brulee-twice"}`},
		{name: "german", request: request{target: query("text", "Übergrößen für Ångström!")}, body: `{"slug":"uebergroessen-fuer-angstroem"}`},
		{name: "cut between words", request: request{target: query("text", "abcdefgh ij klmnop q") + "&max=11"}, body: `{"slug":"abcdefgh-ij"}`},
		{name: "one long word", request: request{target: query("text", strings.Repeat("a", 30)) + "&max=10"}, body: `{"slug":"aaaaaaaaaa"}`},
		{name: "symbols", request: request{target: query("text", "Q&A: it's 5 €")}, body: `{"slug":"q-and-a-its-5-euro"}`},
		{name: "no text", status: 400, body: `{"error":"text has 1 to 500 characters"}`},
		{name: "no number", request: request{target: "/?text=a&max=many"}, status: 400, body: `{"error":"max is a number from 10 to 200"}`},
		{name: "nothing left", request: request{target: query("text", "¿?")}, status: 422, has: "no letter or digit"},
	},

	"redirect": {
		{name: "shown", request: request{target: "/docs"}, status: 302, answer: map[string]string{"location": "https://caddyserver.com/docs/"}},
		{name: "below", request: request{target: "/docs/caddyfile/"}, status: 302, answer: map[string]string{"location": "https://caddyserver.com/docs/caddyfile"}},
		{name: "list", has: `"postgres":"https://www.postgresql.org/docs/current/"`},
		{name: "unknown", request: request{target: "/nowhere"}, status: 404, has: `"links":["docs","postgres","risor"]`, logs: []string{"unknown link"}},
		{name: "climbing", request: request{target: "/docs/../x"}, status: 400, has: "letters, digits"},
		{name: "elsewhere", request: request{target: "/docs/@evil.example"}, status: 400, has: "letters, digits"},
		{name: "method", request: request{method: "POST", target: "/docs"}, status: 405, answer: map[string]string{"allow": "GET, HEAD"}, has: "GET"},
	},

	"csv": {
		{
			name:    "shown",
			request: request{body: `[{"city":"Lyon","people":522250},{"city":"Graz"}]`},
			answer: map[string]string{
				"content-type": "text/csv; charset=utf-8", "content-disposition": `attachment; filename="data.csv"`,
			},
			body: "city,people\r\nLyon,522250\r\nGraz,\r\n",
		},
		{
			name:    "columns, separator, name",
			request: request{target: "/?columns=b,a&sep=semicolon&name=x.csv", body: `[{"a":"x;\"y\"","b":[1,2.5]}]`},
			answer:  map[string]string{"content-disposition": `attachment; filename="x.csv"`},
			body:    "b;a\r\n[1,2.5];\"x;\"\"y\"\"\"\r\n",
		},
		{name: "formula", request: request{body: `[{"a":"=HYPERLINK(1)"},{"a":-5}]`}, body: "a\r\n'=HYPERLINK(1)\r\n-5\r\n"},
		{name: "odd names", request: request{body: `[{"keys":1,"get":true,"x,y":null}]`}, body: "get,keys,\"x,y\"\r\ntrue,1,\r\n"},
		{name: "broken", request: request{body: `[{"a":1}`}, status: 400, has: "invalid JSON at line 1, column 9"},
		{name: "no list", request: request{body: `{}`}, status: 400, has: "JSON list of objects"},
		{name: "no objects", request: request{body: `[1]`}, status: 400, has: "every row"},
		{name: "nothing", request: request{body: `[]`}, status: 400, has: "1 to 200 columns"},
		{name: "separator", request: request{target: "/?sep=x", body: `[{"a":1}]`}, status: 400, has: "sep is"},
		{name: "name", request: request{target: query("name", `x"; y`), body: `[{"a":1}]`}, status: 400, has: "name has"},
	},

	"iban": {
		{
			name: "shown", request: request{body: "DE89 3704 0044 0532 0130 00"},
			body: `{"bank_account":"370400440532013000","country":"DE","formatted":"DE89 3704 0044 0532 0130 00","valid":true}`,
		},
		{name: "letters", request: request{body: "gb82west12345698765432\n"}, has: `"formatted":"GB82 WEST 1234 5698 7654 32","valid":true`},
		{name: "a digit is wrong", request: request{body: "DE89370400440532013001"}, status: 422, has: "check digits"},
		{name: "two are swapped", request: request{body: "DE98370400440532013000"}, status: 422, has: "check digits"},
		{name: "short", request: request{body: "DE8937040044053201300"}, status: 422, has: "has 22 characters, this one has 21"},
		{name: "nowhere", request: request{body: "ZZ89370400440532013000"}, status: 422, has: "no IBANs of country ZZ"},
		{name: "no IBAN", request: request{body: "hello"}, status: 422, has: "country code"},
		{name: "empty", request: request{method: "POST"}, status: 400, has: "one IBAN"},
		{name: "method", status: 405, answer: map[string]string{"allow": "POST"}, has: "POST"},
	},

	"contrast": {
		{
			name: "shown", request: request{target: "/?text=777&background=ffffff"},
			body: `{"aa":false,"aa_large":true,"aaa":false,"ratio":4.47,"suggestion":"#767676"}`,
		},
		{name: "most", request: request{target: "/?text=%23000&background=%23FFFFFF"}, body: `{"aa":true,"aa_large":true,"aaa":true,"ratio":21,"suggestion":null}`},
		{name: "none", request: request{target: "/?text=123456&background=123456"}, has: `"ratio":1,"suggestion":"#`},
		{name: "lighter", request: request{target: "/?text=336699&background=000"}, has: `"suggestion":"#4578ab"`},
		{name: "no colour", request: request{target: "/?text=red&background=fff"}, status: 400, has: "are colours"},
		{name: "one colour", request: request{target: "/?text=fff"}, status: 400, has: "are colours"},
	},

	"cron": {
		{
			name: "shown", request: request{target: query("expr", "*/15 9-17 * * mon-fri")},
			has: `"text":"at minute 0, 15, 30 and 45 past hour 9 to 17, on Monday to Friday"`,
		},
		{name: "daily", request: request{target: query("expr", "5 4 * * *")}, has: `"text":"at 04:05, every day"`},
		{name: "leading zeros", request: request{target: query("expr", "08 09,010 * * *")}, status: 422, has: "hour: 010 is no number"},
		{name: "two digits", request: request{target: query("expr", "08 09 * * *")}, has: `"text":"at 09:08, every day"`},
		{name: "macro", request: request{target: query("expr", "@Weekly")}, has: `"text":"at 00:00, on Sunday"`},
		{name: "sunday is 7", request: request{target: query("expr", "* * * * 7")}, has: `"day_of_week":[0]`},
		{name: "either day", request: request{target: query("expr", "0 0 1,15 jan-mar mon")}, has: "on day 1 and 15 of the month or on Monday, in January to March"},
		{name: "hourly", request: request{target: query("expr", "0 * * * *")}, has: `"text":"every hour, every day"`},
		{name: "four fields", request: request{target: query("expr", "* * * *")}, status: 422, has: "this one has 4"},
		{name: "out of range", request: request{target: query("expr", "60 * * * *")}, status: 422, body: `{"error":"minute: 60 is not between 0 and 59"}`},
		{name: "no step", request: request{target: query("expr", "*/0 * * * *")}, status: 422, has: "no step"},
		{name: "backwards", request: request{target: query("expr", "* 5-1 * * *")}, status: 422, has: "runs backwards"},
		{name: "nothing", status: 400, has: "expr is a cron expression"},
	},

	"markdown": {
		{
			name: "shown", request: request{body: "# Hi\n\n*one* **two** `three`"},
			answer: map[string]string{"content-type": "text/html; charset=utf-8", "content-security-policy": "default-src 'none'; sandbox"},
			body:   "<h1>Hi</h1>\n<p><em>one</em> <strong>two</strong> <code>three</code></p>\n",
		},
		{name: "blocks", request: request{body: "- a\n- b\n1. c\n> quote\n> more\n---\nend"}, body: "<ul>\n<li>a</li>\n<li>b</li>\n</ul>\n<ol>\n<li>c</li>\n</ol>\n" +
			"<blockquote><p>quote\nmore</p></blockquote>\n<hr>\n<p>end</p>\n"},
		{name: "code", request: request{body: "```go\nfunc *x* <y>\n\n```\n"}, body: "<pre><code>func *x* &lt;y&gt;\n\n</code></pre>\n"},
		{name: "link", request: request{body: `[a *b*](https://x.y/*a*?q="1")`}, body: `<p><a href="https://x.y/*a*?q=&quot;1&quot;" rel="nofollow noopener">a <em>b</em></a></p>` + "\n"},
		{name: "bad link", request: request{body: "[x](javascript:alert(1))"}, body: "<p>[x](javascript:alert(1))</p>\n"},
		{name: "markup is text", request: request{body: `<script>"x" & y</script>`}, body: "<p>&lt;script&gt;&quot;x&quot; &amp; y&lt;/script&gt;</p>\n"},
		{name: "unpaired", request: request{body: "a `b *c* ** d *"}, body: "<p>a `b <em>c</em> ** d *</p>\n"},
		{name: "large", request: request{body: strings.Repeat("x", 262145)}, status: 413, has: "256 KiB"},
		{name: "method", status: 405, answer: map[string]string{"allow": "POST"}, has: "POST"},
	},

	"webhook": {
		{
			name: "shown",
			request: request{body: `{"status":"firing","alerts":[{"status":"firing","labels":{"alertname":"DiskFull","instance":"nas",` +
				`"severity":"critical"},"annotations":{"summary":"2 % left on /srv"}}]}`},
			body: `{"alerts":1,"text":"🔥 1 firing\n• critical DiskFull on nas: 2 % left on /srv"}`,
			logs: []string{"alert"},
		},
		{
			name: "the worst first, what is over last",
			request: request{body: `{"alerts":[{"status":"resolved","labels":{"alertname":"Gone"}},{"labels":{"alertname":"Low","severity":"info"}},` +
				`{"labels":{"alertname":"High","severity":"critical"}}]}`},
			body: `{"alerts":3,"text":"🔥 2 firing, ✅ 1 resolved\n• critical High\n• info Low\n✓ Gone is over"}`,
			logs: []string{"alert", "alert", "alert is over"},
		},
		{name: "odd types", request: request{body: `{"alerts":[{"labels":[],"annotations":7}]}`}, has: "• unknown unnamed alert", logs: []string{"alert"}},
		{name: "many", request: request{body: `{"alerts":[` + strings.Repeat(`{"status":"resolved"},`, 29) + `{"status":"resolved"}]}`}, has: "… and 10 more", logs: repeated("alert is over", 30)},
		{name: "none", request: request{body: `{"alerts":[]}`}, status: 400, has: "at least one alert"},
		{name: "no JSON", request: request{body: `{`}, status: 400, has: "invalid JSON at line 1, column 2"},
		{name: "no object", request: request{body: `[1]`}, status: 400, has: "JSON of an Alertmanager"},
		{name: "method", status: 405, answer: map[string]string{"allow": "POST"}, has: "POST"},
	},

	"sun": {
		{
			name: "shown", request: request{target: "/?lat=48.21&lon=16.37&date=2026-06-21"},
			body: `{"date":"2026-06-21","day_length":"16:05","noon":"10:56","noon_elevation":65.2,"sunrise":"02:53","sunset":"18:58","zone":"UTC"}`,
		},
		{
			name: "south, leap day", request: request{target: "/?lat=-33.87&lon=151.2&date=2024-02-29&offset=11"},
			has: `"sunrise":"06:43","sunset":"19:33","zone":"UTC+11"`,
		},
		{name: "midnight sun", request: request{target: "/?lat=69.65&lon=18.96&date=2026-06-21"}, has: `"day_length":"24:00"`},
		{name: "polar night", request: request{target: "/?lat=69.65&lon=18.96&date=2026-12-21"}, has: `"day_length":"00:00"`},
		{name: "half an hour", request: request{target: "/?lat=28.6&lon=77.2&date=2026-01-01&offset=5.5"}, has: `"zone":"UTC+5.5"`},
		{name: "no such day", request: request{target: "/?lat=0&lon=0&date=2023-02-29"}, status: 400, has: "date is a day"},
		{name: "no place", request: request{target: "/?lat=91&lon=0&date=2023-02-28"}, status: 400, has: "lat is"},
		{name: "no number", request: request{target: "/?lat=nan&lon=0&date=2023-02-28"}, status: 400, has: "lat is"},
		{name: "offset", request: request{target: "/?lat=1&lon=0&date=2023-02-28&offset=20"}, status: 400, has: "offset is"},
	},
}

// repeated is n times the same message.
func repeated(message string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = message
	}
	return out
}
