// Package page greets browsers on the two ports of a node. The pages are fixed texts:
// they hold no secret, no name, and nothing of the request.
package page

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"mime"
	"net/http"
	"strconv"
	"strings"
)

//go:embed style.css
var style string

//go:embed functions.html
var functions string

//go:embed control.html
var control string

// policy lets a browser apply our style sheet and do nothing else.
var policy = func() string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}()

// Wanted reports whether a request is a browser's for a page, and not a program's
// for an answer that it reads.
func Wanted(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	for part := range strings.SplitSeq(strings.Join(r.Header["Accept"], ","), ",") {
		kind, parameters, err := mime.ParseMediaType(part)
		if err != nil || kind != "text/html" {
			continue
		}
		weight, err := strconv.ParseFloat(parameters["q"], 64)
		return err != nil || weight > 0
	}
	return false
}

// Functions answers a browser where no function is: 404, and what PiCloud is.
func Functions(w http.ResponseWriter, r *http.Request) { write(w, r, http.StatusNotFound, functions) }

// Control answers a browser at the root of the control port: how to use it.
func Control(w http.ResponseWriter, r *http.Request) { write(w, r, http.StatusOK, control) }

func write(w http.ResponseWriter, r *http.Request, status int, text string) {
	text = strings.Replace(text, "{{style}}", style, 1)
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store") // a function may be deployed there in a moment
	h.Add("Vary", "Accept")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write([]byte(text)) // the browser left
	}
}
