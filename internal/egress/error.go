package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/picloud/picloud"
)

// The codes of errors, which scripts can catch.
const (
	CodeInvalid   = "http_invalid_request"
	CodeDenied    = "egress_denied"
	CodeDNS       = "http_dns"
	CodeConnect   = "http_connect"
	CodeTLS       = "http_tls"
	CodeTimeout   = "http_timeout"
	CodeTooLarge  = "http_too_large"
	CodeRedirects = "http_redirects"
	CodeBusy      = "http_busy"
	CodeFailed    = "http_failed"
)

// Codes lists the codes.
var Codes = []string{
	CodeInvalid, CodeDenied, CodeDNS, CodeConnect, CodeTLS, CodeTimeout, CodeTooLarge, CodeRedirects, CodeBusy, CodeFailed,
}

// Error says why there is no response. Its message is for the author of the
// function, and does not reveal anything about this machine.
type Error struct {
	Code    string
	Message string

	rule  string // what would allow it
	cause error  // of somebody else
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

func failed(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

func timedOut(host string) *Error {
	return failed(CodeTimeout, "%s did not answer in time", host)
}

// explain turns the error of an exchange with a host into one for scripts. It does
// not pass on the texts of net and net/http, which can name addresses of this
// machine.
func explain(ctx context.Context, host string, err error) *Error {
	if known, ok := errors.AsType[*Error](err); ok {
		return known
	}
	var timeout net.Error
	if ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		return timedOut(host)
	}
	if why, ok := explainTLS(err); ok {
		return failed(CodeTLS, "TLS with %s failed: %s", host, why)
	}
	var number syscall.Errno
	switch text := err.Error(); {
	case errors.As(err, &number):
		return failed(CodeFailed, "the exchange with %s broke: %s", host, number.Error())
	case strings.Contains(text, "response headers exceeded"):
		return failed(CodeTooLarge, "the response of %s has more than %s of headers", host, picloud.Size(maxResponseHeader))
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), strings.Contains(text, "EOF"):
		return failed(CodeFailed, "%s closed the connection before the whole response had come", host)
	case strings.Contains(text, "malformed") || strings.Contains(text, "gzip") || strings.Contains(text, "chunk"):
		return failed(CodeFailed, "the response of %s is not valid HTTP: %s", host, picloud.Shorten(text, 200))
	}
	return failed(CodeFailed, "the exchange with %s failed", host)
}

// explainTLS tells errors of certificates and handshakes.
func explainTLS(err error) (string, bool) {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var roots x509.SystemRootsError
	var alert tls.AlertError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &unknown):
		return "its certificate is signed by nobody that this node trusts", true
	case errors.As(err, &name):
		return "its certificate is for another name", true
	case errors.As(err, &invalid):
		return "its certificate is not valid: " + invalid.Error(), true
	case errors.As(err, &roots):
		return "this node has no list of certificate authorities", true
	case errors.As(err, &alert):
		return "it refused: " + alert.Error(), true
	case errors.As(err, &record):
		return "it does not speak TLS on this port", true
	}
	var check *tls.CertificateVerificationError
	if text := err.Error(); errors.As(err, &check) || strings.HasPrefix(text, "tls:") || strings.HasPrefix(text, "remote error: tls:") {
		return "the handshake failed", true
	}
	return "", false
}
