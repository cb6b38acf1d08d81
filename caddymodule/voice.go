package caddymodule

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"
)

// voiceName is the name of the node's own form of log lines: `format picloud`.
const voiceName = "picloud"

// voice writes the node's own log for people, on a terminal as in a file: a time
// that can be read, the level, who speaks, and the fields. Start and end of the
// node it leaves to the lines of `picloud run`.
type voice struct {
	zapcore.Encoder `json:"-"`
}

// CaddyModule returns the module's registration.
func (voice) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.logging.encoders." + voiceName, New: func() caddy.Module { return new(voice) }}
}

// Provision chooses the form of the parts of a line.
func (v *voice) Provision(caddy.Context) error {
	config := zapcore.EncoderConfig{
		TimeKey: "ts", LevelKey: "level", NameKey: "logger", MessageKey: "msg", ConsoleSeparator: " ",
		EncodeTime: func(at time.Time, out zapcore.PrimitiveArrayEncoder) {
			out.AppendString(at.Local().Format("2006-01-02 15:04:05"))
		},
		EncodeLevel: zapcore.CapitalLevelEncoder, EncodeDuration: zapcore.StringDurationEncoder,
		EncodeName: zapcore.FullNameEncoder,
	}
	if term.IsTerminal(int(os.Stderr.Fd())) && os.Getenv("NO_COLOR") == "" {
		config.EncodeLevel = zapcore.CapitalColorLevelEncoder
	}
	v.Encoder = zapcore.NewConsoleEncoder(config)
	return nil
}

// UnmarshalCaddyfile reads `format picloud`, which takes no options.
func (v *voice) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the format's name
	if d.NextArg() || d.NextBlock(0) {
		return d.ArgErr()
	}
	return nil
}

// Clone implements zapcore.Encoder.
func (v *voice) Clone() zapcore.Encoder { return &voice{v.Encoder.Clone()} }

// EncodeEntry writes a line, or nothing for Caddy's farewell, which
// `picloud run` says in its own words, and for a certificate that nobody waits for any
// more because a configuration ended.
func (v *voice) EncodeEntry(e zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error) {
	if strings.HasPrefix(e.Message, "exiting; byeee") || strings.HasSuffix(e.Message, " skipped because it requires TLS") || strings.HasPrefix(e.LoggerName, "tls") && slices.ContainsFunc(fields, isCancelled) {
		return lines.Get(), nil
	}
	return v.Encoder.EncodeEntry(e, fields)
}

func isCancelled(f zapcore.Field) bool {
	err, ok := f.Interface.(error)
	return ok && f.Type == zapcore.ErrorType && strings.Contains(err.Error(), context.Canceled.Error())
}

var lines = buffer.NewPool()

// Interface guards.
var (
	_ zapcore.Encoder       = (*voice)(nil)
	_ caddy.Provisioner     = (*voice)(nil)
	_ caddyfile.Unmarshaler = (*voice)(nil)
)
