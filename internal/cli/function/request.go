package function

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/internal/cli/failure"
)

// The largest bodies that the CLI sends to and takes from a function, in bytes.
const maxBody = 64 << 20

// requestFlags describe the request to a function, for invoke and test.
type requestFlags struct {
	method  string
	path    string
	data    string
	query   []string
	headers []string
}

func (r *requestFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVarP(&r.data, "data", "d", "", "body; @FILE reads a file, @- standard input")
	flags.StringVarP(&r.method, "method", "X", "", "method (default: POST with a body, else GET)")
	flags.StringVar(&r.path, "path", "/", "path below the function, with an optional query")
	flags.StringArrayVarP(&r.query, "query", "q", nil, "query parameter NAME=VALUE; may be repeated")
	flags.StringArrayVarP(&r.headers, "header", "H", nil, "header 'NAME: VALUE'; may be repeated")
}

// outgoing is a request to a function.
type outgoing struct {
	method string
	path   string // starts with a slash
	query  string // encoded
	header http.Header
	body   []byte
}

// build checks the flags and reads the body.
func (r *requestFlags) build(c commands, cmd *cobra.Command) (outgoing, error) {
	out := outgoing{method: strings.ToUpper(r.method), header: http.Header{}}
	ref, err := url.Parse(r.path)
	if failed, ok := errors.AsType[*url.Error](err); ok {
		return out, failure.Usagef(cmd, "--path %q is malformed: %s", r.path, failed.Err)
	}
	if ref.Host != "" || ref.Scheme != "" || !strings.HasPrefix(ref.Path, "/") {
		return out, failure.Usagef(cmd, "--path %q does not start with a single /", r.path)
	}
	query, err := url.ParseQuery(ref.RawQuery)
	if err != nil {
		return out, failure.Usagef(cmd, "--path %q has a broken query", r.path)
	}
	for _, q := range r.query {
		name, value, ok := strings.Cut(q, "=")
		if !ok || name == "" {
			return out, failure.Usagef(cmd, "--query %q is not NAME=VALUE", q)
		}
		query.Add(name, value)
	}
	out.path, out.query = ref.EscapedPath(), query.Encode()
	for _, h := range r.headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok || strings.TrimSpace(name) == "" {
			return out, failure.Usagef(cmd, "--header %q is not 'NAME: VALUE'", h)
		}
		out.header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	hasBody := cmd.Flags().Changed("data")
	if hasBody {
		if out.body, err = r.body(c); err != nil {
			return out, err
		}
		if out.header.Get("Content-Type") == "" {
			out.header.Set("Content-Type", contentType(out.body))
		}
	}
	if out.method == "" {
		out.method = http.MethodGet
		if hasBody {
			out.method = http.MethodPost
		}
	}
	return out, nil
}

func (r *requestFlags) body(c commands) ([]byte, error) {
	file, ok := strings.CutPrefix(r.data, "@")
	if !ok {
		return []byte(r.data), nil
	}
	body, err := c.ReadInput(file, maxBody)
	if err != nil {
		return nil, fmt.Errorf("read body: %w", err)
	}
	if len(body) > maxBody {
		return nil, fmt.Errorf("read body: %s is larger than 64 MiB", failure.StreamName(file))
	}
	return body, nil
}

// contentType guesses the content type of a body when no header names it.
func contentType(body []byte) string {
	if json.Valid(body) {
		return "application/json"
	}
	return http.DetectContentType(body)
}
