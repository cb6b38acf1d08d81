package caddymodule

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAPanicOfOursIsAnAnswer: net/http would cut the connection.
func TestAPanicOfOursIsAnAnswer(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for name, serve := range map[string]func(http.ResponseWriter, *http.Request) error{
		"functions": func(w http.ResponseWriter, r *http.Request) error {
			return (&Handler{handover: new(handover), log: log}).ServeHTTP(w, r, nil) // a handler without a node
		},
		"control": func(w http.ResponseWriter, r *http.Request) error {
			return (&ManagerHandler{handover: new(handover), log: log}).ServeHTTP(w, r, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			require.NoError(t, serve(w, httptest.NewRequest(http.MethodGet, "/fn/default/hello", nil)))
			require.Equal(t, http.StatusInternalServerError, w.Code)
			require.Contains(t, w.Body.String(), "PC1300")
		})
	}
}
