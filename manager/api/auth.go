package api

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/picloud/picloud"
)

// guard refuses what web pages send, to health, readiness and metrics too.
func (s *server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.own.Check(r); err != nil {
			s.fail(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// authenticate lets only those with a token past, except to health and
// readiness, and from loopback to the metrics. A path that does not exist is
// 404 to those with a token only, so that strangers learn nothing from it.
func (s *server) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if open(r) {
			next.ServeHTTP(w, r)
			return
		}
		if err := s.signIn(w, r); err != nil {
			if picloud.CodeOf(err) == picloud.CodeUnauthenticated {
				w.Header().Set("WWW-Authenticate", `Bearer realm="picloud"`)
			}
			s.fail(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func open(r *http.Request) bool {
	switch r.URL.Path {
	case "/healthz", "/readyz":
		return true
	case "/metrics":
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		return err == nil && from.Addr().Unmap().IsLoopback()
	}
	return false
}

// networkOf is from where a request comes: an IPv4 address, or the /64 of an IPv6 one,
// all of whose addresses one machine can have.
func networkOf(remote string) string {
	from, err := netip.ParseAddrPort(remote)
	if err != nil {
		return "unknown"
	}
	if addr := from.Addr().Unmap(); addr.Is4() {
		return addr.String()
	}
	return netip.PrefixFrom(from.Addr().WithZone(""), 64).Masked().String()
}

// signIn finds out whose token a request carries.
func (s *server) signIn(w http.ResponseWriter, r *http.Request) error {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return &picloud.Error{
			Code: picloud.CodeUnauthenticated, Detail: "the request carries no API token",
			Hint: "send Authorization: Bearer TOKEN; picloud login saves one for the CLI",
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
	defer cancel()
	turn, stop := context.WithTimeout(ctx, signInPatience)
	leave, err := s.signIns.Wait(turn, networkOf(r.RemoteAddr))
	stop()
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return &picloud.Error{Code: picloud.CodeDatabaseDown, Detail: "look up token: the lookups of other calls do not end", RetryAfter: 2 * time.Second}
	case err != nil:
		return &picloud.Error{Code: picloud.CodeQueueFull, Detail: "too many calls, from your address or from all, wait for their token to be looked up", RetryAfter: time.Second}
	}
	defer leave()
	user, err := s.o.Manager.Authenticate(ctx, strings.TrimSpace(token))
	if err != nil {
		return err
	}
	c := callOf(r.Context())
	c.token, c.user = strings.TrimSpace(token), user
	w.Header().Set("X-PiCloud-User", user.Name) // a refusal must say who was refused
	return nil
}
