package manager

import (
	"context"
	"fmt"

	"github.com/picloud/picloud"
)

// sealAttempts bounds how often a value is sealed again because the app's data
// key was replaced meanwhile.
const sealAttempts = 10

// Secrets keeps the data keys of apps, wrapped, and what they sealed.
type Secrets interface {
	// DataKey returns the data key in effect, wrapped: fresh, when the app has none yet.
	DataKey(ctx context.Context, actor picloud.Actor, app string, fresh []byte) (wrapped []byte, err error)
	// Put keeps a value that was sealed with the data key wrapped; when that is
	// not the app's any more, it fails with CodeConflict. It returns the catalog's
	// revision that has the secret.
	Put(ctx context.Context, actor picloud.Actor, app, name string, sealed, wrapped []byte) (rev int64, err error)
}

// Sealer makes values unreadable for all but the nodes of the cluster. Its
// errors are CodeSecrets when this node has not the cluster's key.
type Sealer interface {
	// FreshKey makes a data key for an app, wrapped.
	FreshKey(app string) (wrapped []byte, err error)
	// Seal seals a secret's value with the app's data key.
	Seal(app, name string, wrapped, value []byte) (sealed []byte, err error)
}

// noSealer is a node that has no key.
type noSealer struct{}

var errNoSealer = &picloud.Error{Code: picloud.CodeSecrets, Op: "seal secret", Detail: "this node has no key to seal it with"}

func (noSealer) FreshKey(string) ([]byte, error) { return nil, errNoSealer }

func (noSealer) Seal(string, string, []byte, []byte) ([]byte, error) { return nil, errNoSealer }

// SetSecret seals a value and keeps it as a secret of the app. It does not hold
// on to the value, which the caller clears. It returns the catalog's revision
// that has the secret.
func (m *Manager) SetSecret(ctx context.Context, actor picloud.Actor, app, name string, value []byte) (rev int64, err error) {
	const op = "set secret"
	if err := checkSecret(op, app, name, value); err != nil {
		return 0, err
	}
	// An actor without the right to write learns nothing about the node's key.
	if err := m.checkDeveloper(ctx, op, actor, app); err != nil {
		return 0, err
	}
	for attempt := 1; ; attempt++ {
		rev, err := m.putSecret(ctx, actor, app, name, value)
		if picloud.CodeOf(err) != picloud.CodeConflict || attempt == sealAttempts {
			return rev, err
		}
	}
}

func (m *Manager) putSecret(ctx context.Context, actor picloud.Actor, app, name string, value []byte) (rev int64, err error) {
	fresh, err := m.o.Sealer.FreshKey(app)
	if err != nil {
		return 0, err
	}
	wrapped, err := m.o.Secrets.DataKey(ctx, actor, app, fresh)
	if err != nil {
		return 0, err
	}
	sealed, err := m.o.Sealer.Seal(app, name, wrapped, value)
	if err != nil {
		return 0, err
	}
	return m.o.Secrets.Put(ctx, actor, app, name, sealed, wrapped)
}

func checkSecret(op, app, name string, value []byte) error {
	if err := picloud.CheckVariable("secret", name); err != nil {
		return err
	}
	bad := &picloud.Error{Op: op, Resource: app + "/" + name}
	switch {
	case len(value) == 0:
		bad.Code, bad.Detail = picloud.CodeInvalid, "the value is empty"
		bad.Hint = "picloud secret rm deletes a secret"
	case len(value) > picloud.MaxSecretSize:
		bad.Code = picloud.CodeTooLarge
		bad.Detail = fmt.Sprintf("the value has more than %s", picloud.Size(picloud.MaxSecretSize))
	default:
		return nil
	}
	return bad
}
