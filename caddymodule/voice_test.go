package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// TestVoice: a node speaks in lines that people read, and leaves its farewell to
// `picloud run`.
func TestVoice(t *testing.T) {
	v := new(voice)
	require.NoError(t, v.Provision(caddy.Context{}))
	at := time.Date(2026, 11, 28, 15, 4, 5, 0, time.Local)
	say := func(logger, message string, fields ...zapcore.Field) string {
		line, err := v.Clone().EncodeEntry(zapcore.Entry{Level: zapcore.WarnLevel, Time: at, LoggerName: logger, Message: message}, fields)
		require.NoError(t, err)
		return line.String()
	}
	require.Contains(t, say("picloud", "executor ended", zap.String("app", "a")), `picloud executor ended {"app": "a"}`)
	require.Regexp(t, `^2026-11-28 15:04:05 \S*WARN`, say("", "x"))
	require.Empty(t, say("", "exiting; byeee!! 👋", zap.String("signal", "SIGINT")))
	require.Empty(t, say("tls", "job failed", zap.Error(fmt.Errorf("obtain: %w", context.Canceled))))
	require.Empty(t, say("http", "HTTP/2 skipped because it requires TLS", zap.String("addr", ":80")))
	require.NotEmpty(t, say("tls", "job failed", zap.Error(errors.New("no such host"))))
}

// TestNoCommandReplacesThisProgram: Caddy's upgrade would put Caddy in its place.
func TestNoCommandReplacesThisProgram(t *testing.T) {
	for _, c := range caddyCommand().Commands() {
		require.NotContains(t, []string{"upgrade", "add-package", "remove-package"}, c.Name())
	}
}
