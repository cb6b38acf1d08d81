package agent

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

// vault has the cluster's key, with which secrets are sealed and opened. The
// first node of a database makes it; on others somebody puts it. A node without
// it serves all functions, but gives them no secrets.
type vault struct {
	dir string
	log *slog.Logger
	key atomic.Pointer[seal.ClusterKey] // the one to use; nil: see trouble

	mu      sync.Mutex
	want    string // id of the cluster's key; empty: the database was not asked yet
	trouble error  // why there is no key
	looked  time.Time
	made    bool // this process made the cluster's key

	fresh *seal.ClusterKey // made and saved by settle, not known to be the cluster's; only settle touches it
}

// clusterStore knows which key is the cluster's.
type clusterStore interface {
	KeyID(ctx context.Context) (string, error)
	ClaimKeyID(ctx context.Context, id string) (inEffect string, err error)
}

func newVault(dataDir string, log *slog.Logger) *vault { return &vault{dir: dataDir, log: log} }

// look reads the key's file, for a start without database.
func (v *vault) look() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.read()
}

// read brings key and trouble up to date with the file. The caller holds mu.
func (v *vault) read() {
	v.looked = time.Now()
	key, err := seal.Load(v.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = v.fail("the node does not have the cluster's key", nil)
	case err == nil && v.want != "" && key.ID() != v.want:
		err = v.fail("the key in "+seal.Path(v.dir)+" is that of another cluster", nil)
	}
	if v.trouble = err; err != nil {
		v.key.Store(nil)
		return
	}
	v.key.Store(key)
}

func (v *vault) fail(detail string, cause error) error {
	return &picloud.Error{
		Code: picloud.CodeSecrets, Op: "use cluster key", Detail: detail, Err: cause,
		Hint: "copy " + seal.FileName + " from the data folder of a node that has it, or from your backup, to " + seal.Path(v.dir) + " (mode 600)",
	}
}

// settle finds out which key is the cluster's, and makes it when there is none.
// An error means that the database has to be asked again. It is called by one
// goroutine; functions do not wait for the database meanwhile.
func (v *vault) settle(ctx context.Context, store clusterStore) error {
	id, err := store.KeyID(ctx)
	if err != nil {
		return err
	}
	if id == "" {
		if id, err = v.found(ctx, store); err != nil {
			return err
		}
	}
	mine, other := v.fresh != nil && v.fresh.ID() == id, v.fresh != nil && v.fresh.ID() != id && id != ""
	if other {
		v.withdraw()
	}
	v.fresh = nil
	v.mu.Lock()
	defer v.mu.Unlock()
	v.want, v.made = id, mine
	v.read()
	if v.trouble != nil {
		v.log.Warn("secrets are not available on this node; functions that use none are served", slog.Any("error", v.trouble))
	}
	return nil
}

// found makes this node's key the cluster's. On disk first: a key that was
// claimed and then lost would be in effect for ever. The id is empty when the
// node has no key that could be: it serves all the same.
func (v *vault) found(ctx context.Context, store clusterStore) (id string, err error) {
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

// withdraw removes the file of the fresh key: another node was first, and this
// one never sealed anything. Any other key in the file stays: it may be the only
// copy of one that did.
func (v *vault) withdraw() {
	if key, err := seal.Load(v.dir); err == nil && key.ID() == v.fresh.ID() {
		if err := os.Remove(seal.Path(v.dir)); err != nil {
			v.log.Warn("a key of no cluster stays", slog.Any("error", err))
		}
	}
}

// open returns the key for reading secrets.
func (v *vault) open() (*seal.ClusterKey, error) {
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

// writable returns the key for sealing: it must be known to be the cluster's.
func (v *vault) writable() (*seal.ClusterKey, error) {
	key, err := v.open()
	if err != nil {
		return nil, err
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
		return nil, v.fail("the key in "+seal.Path(v.dir)+" is that of another cluster", nil)
	}
	return key, nil
}

// state says whether the node made the key, and why it has none.
func (v *vault) state() (made bool, trouble error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.made, v.trouble
}

// FreshKey returns a new data key for an app, wrapped.
func (v *vault) FreshKey(app string) ([]byte, error) {
	key, err := v.writable()
	if err != nil {
		return nil, err
	}
	return key.NewDataKey(app), nil
}

// Seal returns the sealed form of a secret's value, by the app's data key.
func (v *vault) Seal(app, name string, wrapped, value []byte) ([]byte, error) {
	key, err := v.writable()
	if err != nil {
		return nil, err
	}
	data, err := key.Unwrap(app, wrapped)
	if err != nil {
		return nil, v.fail("the app's data key cannot be opened", err)
	}
	return data.Seal(name, value), nil
}
