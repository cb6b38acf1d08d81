// Command gen writes docs/errors.md from the catalogue of error codes.
//
//	go generate ./internal/problem
package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/picloud/picloud"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gen FILE")
		os.Exit(2)
	}
	if err := os.WriteFile(os.Args[1], []byte(page(picloud.Catalogue)), 0o644); err != nil { //nolint:gosec // a page of the documentation, for all to read
		fmt.Fprintln(os.Stderr, "write page of errors:", err)
		os.Exit(1)
	}
}

const head = `# Errors

<!-- Generated from code.go by internal/problem/gen; do not edit. -->

Every error of the control API, and every error that PiCloud answers for a function, is an
[RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) problem with a stable ` + "`code`" + `:

` + "```http" + `
HTTP/1.1 409 Conflict
Content-Type: application/problem+json

{"type":"/problems/already-exists","title":"Already exists","status":409,"code":"PC1006",
 "detail":"add member shop/ada: is a member already","hint":"change the role with PATCH","request_id":"7JQ2…"}
` + "```" + `

` + "`detail`" + ` says what was attempted, on what, and what went wrong; ` + "`hint`" + ` what to do next; the node logs under ` + "`request_id`" + `.
Invalid fields are in ` + "`errors[]`" + ` as ` + "`{field, message}`" + `. A script that does not compile adds ` + "`line`, `column`, `message`" + ` and ` + "`excerpt`" + `.
Answers with status 429 and 503 carry ` + "`Retry-After`" + `. Where a function was called, ` + "`X-PiCloud-Error`" + ` says whether the function or the platform failed.
Codes are never reused.
`

var sections = []struct{ prefix, title string }{
	{"PC10", "Requests to the control API"},
	{"PC11", "Deploys"},
	{"PC12", "Calls of functions"},
	{"PC13", "The node"},
	{"PC14", "Nodes among one another"},
}

// page renders the catalogue, section by section.
func page(catalogue []picloud.Entry) string {
	var b strings.Builder
	b.WriteString(head)
	for _, s := range sections {
		fmt.Fprintf(&b, "\n## %s\n\n| Code | Status | Title | Type | Meaning |\n|---|---|---|---|---|\n", s.title)
		for _, e := range catalogue {
			if strings.HasPrefix(string(e.Code), s.prefix) {
				fmt.Fprintf(&b, "| %s | %d | %s | `%s` | %s |\n", e.Code, e.Status, e.Title, e.Type, strings.ReplaceAll(e.Doc, "|", `\|`))
			}
		}
	}
	return b.String()
}
