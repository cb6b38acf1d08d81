package broker

import (
	"context"
	"unicode/utf8"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor"
	"github.com/picloud/picloud/executor/hostcall"
	"github.com/picloud/picloud/internal/value"
)

// secret answers hostcall.Secret. It hides the value in logs before the function has it.
func (b *Broker) secret(_ context.Context, g *Grants, call *executor.HostCall) ([]byte, error) {
	var ask hostcall.Secret
	if err := ask.Read(call.Args); err != nil {
		return nil, err
	}
	name := ask.Name
	sealed, ok := g.secret(name)
	if !ok {
		return nil, hostcall.Errorf(hostcall.CodeSecretNotFound, "%s has no secret %q, or may not read it; set it with: picloud secret set %s", g.resource, picloud.Shorten(name, 80), g.inApp("NAME"))
	}
	if err := call.Take(4 * int64(len(sealed))); err != nil { // opened, as a text, and in the answer
		return nil, err
	}
	key, err := b.vault.readable()
	if err != nil {
		return nil, hostcall.Errorf(hostcall.CodeSecretUnavailable, "this node does not have the cluster's key; `picloud doctor` on it says what to do")
	}
	data, err := key.Unwrap(g.app.App, g.app.Key)
	if err != nil {
		return nil, hostcall.Errorf(hostcall.CodeSecretUnavailable, "this node's key does not open the secrets of %s; `picloud doctor` on it says what to do", g.app.App)
	}
	plain, err := data.Open(name, sealed)
	if err != nil {
		return nil, hostcall.Errorf(hostcall.CodeSecretUnavailable, "the secret %s is damaged; set it again", name)
	}
	text := string(plain)
	b.hidden.Learn(g.app.App, name, text)
	if utf8.ValidString(text) {
		return value.AppendText(nil, text), nil
	}
	return value.AppendBytes(nil, plain), nil
}
