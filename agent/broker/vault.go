package broker

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/seal"
)

// keyRetry is how often a node without the cluster's key looks for it again, so
// that copying the file is all that there is to do.
const keyRetry = 2 * time.Second

// Vault holds the cluster's key, which seals and opens secrets. The first node that
// reaches a new database makes the key; people copy its file to the other nodes. A
// node without the key serves all functions, but gives them no secrets.
type Vault struct {
	dir string
	log *slog.Logger
	key atomic.Pointer[seal.ClusterKey] // the one to use; nil: see trouble

	mu      sync.Mutex
	want    string // id of the cluster's key; empty: not known
	trouble error  // why there is no key
	looked  time.Time
	made    bool // this process made the cluster's key

	fresh *seal.ClusterKey // made and saved by Establish, not known to be the cluster's; only Establish touches it
}

// ClusterKeys knows which key is the cluster's, by its id.
type ClusterKeys interface {
	// KeyID returns the id; empty: the cluster has no key.
	KeyID(ctx context.Context) (string, error)
	// ClaimKeyID makes a key the cluster's if it has none, and returns the id of the
	// cluster's key.
	ClaimKeyID(ctx context.Context, id string) (inEffect string, err error)
}

// NewVault returns the vault of a data folder. It reads nothing yet.
func NewVault(dataDir string, log *slog.Logger) *Vault { return &Vault{dir: dataDir, log: log} }

// Look reads the key's file. A node does that when it starts, before it reaches the
// database.
func (v *Vault) Look() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.read()
}

// Expect says which key is the cluster's, for a check without Establish. Call it before
// Look. An empty id means that it is not known.
func (v *Vault) Expect(id string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.want = id
}

// read brings key and trouble up to date with the file. The caller holds mu.
func (v *Vault) read() {
	v.looked = time.Now()
	key, err := seal.Load(v.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = v.fail("the node does not have the cluster's key", nil)
	case err == nil && v.want != "" && key.ID() != v.want:
		err = v.fail("the key in "+seal.Path(v.dir)+" belongs to another cluster", nil)
	}
	if v.trouble = err; err != nil {
		v.key.Store(nil)
		return
	}
	v.key.Store(key)
}

func (v *Vault) fail(detail string, cause error) error {
	return &picloud.Error{
		Code: picloud.CodeSecrets, Op: "use cluster key", Detail: detail, Err: cause,
		Hint: "copy " + seal.FileName + " from the data folder of a node that has it, or from your backup, to " + seal.Path(v.dir) + " (mode 600)",
	}
}

// Establish asks the database which key is the cluster's, and makes the key when there
// is none. An error means that the caller has to try again. State says whether the node can
// use the key. One goroutine at a time
// calls it; functions do not wait for it.
func (v *Vault) Establish(ctx context.Context, store ClusterKeys) error {
	id, err := store.KeyID(ctx)
	if err != nil {
		return err
	}
	if id == "" {
		if id, err = v.claim(ctx, store); err != nil {
			return err
		}
	}
	mine, other := v.fresh != nil && v.fresh.ID() == id, v.fresh != nil && v.fresh.ID() != id && id != ""
	if other {
		v.removeFresh()
	}
	v.fresh = nil
	v.mu.Lock()
	defer v.mu.Unlock()
	v.want, v.made = id, mine
	v.read()
	return nil
}

// claim makes this node's key the cluster's, and returns the id of the key that is the
// cluster's then. A new key is on disk before it is claimed: a key that was claimed and
// then lost would be the cluster's for ever. The id is empty when the node can neither
// read nor make a key; the node serves without.
func (v *Vault) claim(ctx context.Context, store ClusterKeys) (id string, err error) {
	key, err := seal.Load(v.dir)
	if errors.Is(err, fs.ErrNotExist) {
		key = seal.Generate()
		if err = key.Save(v.dir); err == nil {
			v.fresh = key
		}
	}
	if err != nil {
		v.log.Error("the cluster has no key, and this node could not make one", slog.Any("error", err))
		return "", nil
	}
	return store.ClaimKeyID(ctx, key.ID())
}

// removeFresh removes the file of the key that this node made: another node's key is
// the cluster's, and this one never sealed anything. Another key in the file stays: it
// may be the only copy of a key that sealed secrets.
func (v *Vault) removeFresh() {
	if key, err := seal.Load(v.dir); err == nil && key.ID() == v.fresh.ID() {
		if err := os.Remove(seal.Path(v.dir)); err != nil {
			v.log.Warn("remove the key file that this node made in vain", slog.Any("error", err))
		}
	}
}

// readable returns the key for opening secrets.
func (v *Vault) readable() (*seal.ClusterKey, error) {
	if key := v.key.Load(); key != nil {
		return key, nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if time.Since(v.looked) >= keyRetry {
		v.read()
		if v.trouble == nil {
			v.log.Info("the cluster's key is here; secrets are available")
		}
	}
	return v.key.Load(), v.trouble
}

// writable returns the key for sealing. The database must have named it as the
// cluster's. Its errors are for developers of apps.
func (v *Vault) writable() (*seal.ClusterKey, error) {
	key, err := v.readable()
	if err != nil {
		return nil, withoutPlaces(err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.want == "" {
		return nil, &picloud.Error{
			Code: picloud.CodeSecrets, Op: "use cluster key", Detail: "the cluster has no key yet",
			Hint: "try again when the node has reached its database; if it has, restart it",
		}
	}
	if v.want != key.ID() {
		return nil, withoutPlaces(v.fail("the key in "+seal.Path(v.dir)+" belongs to another cluster", nil))
	}
	return key, nil
}

// State says whether this process made the cluster's key, and why the node has no key.
func (v *Vault) State() (made bool, trouble error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.made, v.trouble
}

// FreshKey returns a new data key for an app, wrapped.
func (v *Vault) FreshKey(app string) ([]byte, error) {
	key, err := v.writable()
	if err != nil {
		return nil, err
	}
	return key.NewDataKey(app), nil
}

// Seal returns the sealed form of a secret's value, by the app's data key.
func (v *Vault) Seal(app, name string, wrapped, value []byte) ([]byte, error) {
	key, err := v.writable()
	if err != nil {
		return nil, err
	}
	data, err := key.Unwrap(app, wrapped)
	if err != nil {
		return nil, withoutPlaces(v.fail("the app's data key cannot be opened", err))
	}
	return data.Seal(name, value), nil
}

// withoutPlaces is the error for a developer of an app. Where the node keeps its key is
// for its log and for picloud doctor.
func withoutPlaces(err error) error {
	return &picloud.Error{
		Code: picloud.CodeOf(err), Op: "seal secret", Detail: "this node cannot use the cluster's key", Err: err,
		Hint: "tell the owner of the node: `picloud doctor` on it says why and what to do", RetryAfter: time.Second,
	}
}

// Key returns the cluster's key, for what the cluster itself keeps sealed. The database
// must have named the key as the cluster's.
func (v *Vault) Key() (*seal.ClusterKey, error) { return v.writable() }
