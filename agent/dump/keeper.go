package dump

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/datadir"
	"github.com/picloud/picloud/internal/machine"
	"github.com/picloud/picloud/internal/service"
)

const (
	// DefaultEvery is how often a dump is made when nothing says otherwise.
	DefaultEvery = 6 * time.Hour
	// copies is on how many other nodes a dump is kept.
	copies = 2
	// look is how often the keeper compares the clock and the revision. It costs no statement.
	look = time.Minute
	// settle is how long the catalog must rest before a change of it is dumped, and seldom how
	// often that happens at most.
	settle, seldom = 2 * time.Minute, 15 * time.Minute
	// again is when a dump is tried once more that nobody keeps. It doubles up to the time
	// between two dumps: each attempt reads the whole database and writes to the card.
	again = 5 * time.Minute
	// hostRoom is what a dump leaves free on the disk of the database, in bytes, or a tenth of
	// a smaller disk: a database whose disk is full stops. The dump looks at that each step.
	hostRoom, step = 512 << 20, 16 << 20
	// skew is how far in the future a dump of before may lie: clocks differ.
	skew = time.Hour
	// takeTime bounds a dump, and sendTime its way to one node.
	takeTime, sendTime = 30 * time.Minute, 30 * time.Minute
)

// Source makes dumps. It fills in what the database says of itself.
type Source interface {
	Take(ctx context.Context, to io.Writer) (Manifest, error)
}

// Peers are the nodes that may keep a dump: they are alive, and may manage the cluster. They
// come in the order in which they are asked.
type Peers interface {
	Nodes() []string
	Name(node string) string
	// Send gives a dump to a node.
	Send(ctx context.Context, node string, m Manifest, dump io.Reader) error
	// Kept returns what a node keeps.
	Kept(ctx context.Context, node string) ([]Manifest, error)
}

// Options of a Keeper.
type Options struct {
	// Dir is where a dump is written before it is sent. Required.
	Dir    string
	Source Source // Required
	Peers  Peers  // Required
	// Revision is that of the catalog at this moment. Required.
	Revision func() int64
	// Every is the time between two dumps. 0: DefaultEvery. Below: none is made in time.
	Every  time.Duration
	Logger *slog.Logger // required
}

// Keeper runs on the node of the database: it makes a dump in time and gives it to other
// nodes. It needs no leadership: whoever has the database is the only one that can dump it, and
// a dump changes nothing.
type Keeper struct {
	o    Options
	task *service.Task
	one  sync.Mutex // held while a dump is made
	// space returns the bytes that are free on the disk of a folder, and how many it has.
	space func(dir string) (free, total int64, err error)

	mu   sync.Mutex // guards what follows
	last Manifest   // the newest dump that another node keeps
	at   time.Time  // when it was made, by the clock of this process
	err  error      // why the last attempt failed; nil: it did not
}

// NewKeeper returns a keeper.
func NewKeeper(o Options) *Keeper {
	if o.Every == 0 {
		o.Every = DefaultEvery
	}
	return &Keeper{o: o, space: machine.Disk}
}

// Start begins to make dumps in time, if there is a time.
func (k *Keeper) Start() {
	if k.o.Every > 0 {
		k.task = service.Go(context.Background(), k.run)
	}
}

// Stop ends that, and a dump that is being made.
func (k *Keeper) Stop() { k.task.Stop() }

// plan says when the next dump is due.
type plan struct {
	every time.Duration
	tried time.Time // the last attempt
	fails int       // attempts in a row that failed
	nodes []string  // that could keep one at the last attempt
	rev   int64     // of the catalog
	since time.Time // when it was seen first
	asked bool      // what the others keep is known
}

// due reports whether a dump is to be made. At is when the last one was.
func (p plan) due(last Manifest, at time.Time, failed bool, now time.Time) bool {
	switch {
	case failed:
		return now.Sub(p.tried) >= min(again<<min(max(p.fails-1, 0), 16), max(p.every, again))
	case last.Size == 0: // nobody keeps one
		return true
	case now.Sub(p.tried) >= p.every && now.Sub(at) >= p.every:
		return true
	}
	return p.rev > last.Revision && now.Sub(p.since) >= min(settle, p.every) && now.Sub(p.tried) >= min(seldom, p.every)
}

// run makes dumps until ctx ends.
func (k *Keeper) run(ctx context.Context) {
	p := plan{every: k.o.Every, since: time.Now()}
	tick := time.NewTicker(min(look, k.o.Every))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if rev := k.o.Revision(); rev != p.rev {
			p.rev, p.since = rev, time.Now()
		}
		nodes := k.o.Peers.Nodes()
		if len(nodes) == 0 {
			continue // there is nobody to keep it
		}
		if !p.asked {
			p.asked = k.ask(ctx)
		}
		k.mu.Lock()
		last, at, err := k.last, k.at, k.err
		k.mu.Unlock()
		if err == nil || !slices.Equal(nodes, p.nodes) { // somebody else may keep it
			p.fails = 0
		}
		if !p.due(last, at, err != nil, time.Now()) {
			continue
		}
		p.tried, p.nodes = time.Now(), nodes
		_, now := k.Now(ctx)
		if now == nil {
			continue
		}
		p.fails++
		if ctx.Err() == nil && (err == nil || err.Error() != now.Error()) {
			k.o.Logger.Warn("no other node has a new dump of the database", slog.Any("error", now))
		}
	}
}

// ask finds out what the others keep: a node that was restarted need not dump at once. What
// cannot be is passed over: a board may have had a wrong clock, and one dump too many does
// no harm.
func (k *Keeper) ask(ctx context.Context) (known bool) {
	for _, node := range k.o.Peers.Nodes() {
		kept, err := k.o.Peers.Kept(ctx, node)
		if err != nil {
			continue
		}
		known = true
		now, rev := time.Now(), k.o.Revision()
		for _, m := range kept {
			if m.Revision <= rev && !m.TakenAt.After(now.Add(skew)) {
				k.told(m, now)
			}
		}
	}
	return known
}

// told takes down that another node says that it keeps a dump.
func (k *Keeper) told(m Manifest, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if m.Newer(k.last) {
		k.last, k.at = m, m.TakenAt
		if k.at.After(now) {
			k.at = now
		}
	}
}

// done takes down that another node keeps a dump that this one has made. It replaces what
// others have said, whatever that was.
func (k *Keeper) done(m Manifest) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.last, k.at = m, time.Now()
}

// Last returns the newest dump that another node keeps, of size 0 when none is known, and why the
// last attempt to make one failed.
func (k *Keeper) Last() (Manifest, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.last, k.err
}

// Now makes a dump and gives it to other nodes. Without an error at least one keeps it.
func (k *Keeper) Now(ctx context.Context) (m Manifest, err error) {
	if !k.one.TryLock() {
		return m, &picloud.Error{Code: picloud.CodeConflict, Op: "dump database", Detail: "a dump is being made at this moment", Hint: "`picloud database status` shows it when it is there"}
	}
	defer k.one.Unlock()
	m, err = k.make(ctx)
	k.mu.Lock()
	k.err = err
	k.mu.Unlock()
	return m, err
}

func (k *Keeper) make(ctx context.Context) (m Manifest, err error) {
	nodes := k.o.Peers.Nodes()
	if len(nodes) == 0 {
		return m, &picloud.Error{
			Code: picloud.CodeDump, Op: "dump database", Detail: "no other node that may manage the cluster is alive, so nobody can keep it",
			Hint: "invite another node without --role node, or keep a backup elsewhere",
		}
	}
	file, m, err := k.take(ctx)
	if err != nil {
		return m, err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	begun, kept, errs := time.Now(), []string{}, []error{}
	for _, node := range nodes {
		if len(kept) == copies {
			break
		}
		if err := k.send(ctx, node, m, file); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", k.o.Peers.Name(node), err))
			continue
		}
		kept = append(kept, k.o.Peers.Name(node))
		k.done(m)
	}
	if len(kept) == 0 {
		return m, &picloud.Error{
			Code: picloud.CodeDump, Op: "keep dump of the database", Detail: errors.Join(errs...).Error(), Err: errors.Join(errs...),
			Hint: "the database's node tries again in some minutes; `picloud database dump` does it at once",
		}
	}
	k.o.Logger.Info("other nodes keep a dump of the database", slog.Any("nodes", kept), slog.Int64("revision", m.Revision),
		slog.Int64("bytes", m.Size), slog.Duration("sent_in", time.Since(begun).Round(time.Millisecond)))
	return m, nil
}

// take writes a dump to a file that the caller closes and removes.
func (k *Keeper) take(ctx context.Context) (file *os.File, m Manifest, err error) {
	if err := os.MkdirAll(k.o.Dir, 0o700); err != nil {
		return nil, m, fmt.Errorf("dump database: %w", err)
	}
	left, _ := filepath.Glob(filepath.Join(k.o.Dir, ".own-*")) // of a process that was killed
	for _, path := range left {
		os.Remove(path)
	}
	if file, err = os.CreateTemp(k.o.Dir, ".own-"); err != nil {
		return nil, m, fmt.Errorf("dump database: %w", err)
	}
	made := file // a return with an error clears file
	defer func() {
		if err != nil {
			made.Close()
			os.Remove(made.Name())
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, takeTime)
	defer cancel()
	sum, size := sha256.New(), &counter{room: k.room}
	if m, err = k.o.Source.Take(ctx, io.MultiWriter(size, file, sum)); err != nil {
		return nil, m, err
	}
	m.SHA256, m.Size = hex.EncodeToString(sum.Sum(nil)), size.n
	return file, m, m.Check()
}

// room is an error if the disk has not the room for a further step.
func (k *Keeper) room() error {
	free, total, err := k.space(k.o.Dir)
	if err != nil {
		return fmt.Errorf("dump database: look for room in %s: %w", k.o.Dir, err)
	}
	if keep := min(hostRoom, total/10); free-step < keep {
		return &picloud.Error{
			Code: picloud.CodeDump, Op: "dump database", Resource: k.o.Dir,
			Detail: fmt.Sprintf("the disk has no room for it: %d MB are free, and %d MB are left to the database", free>>20, keep>>20),
			Hint:   "free some space on the disk of the database; it needs it, too",
		}
	}
	return nil
}

// counter counts bytes, up to the bound of a dump, and looks for room before each step.
type counter struct {
	n, next int64 // next is when to look
	room    func() error
}

func (c *counter) Write(p []byte) (int, error) {
	if c.n += int64(len(p)); c.n > MaxSize {
		return 0, fmt.Errorf("it has more than %d bytes", int64(MaxSize))
	}
	if c.n > c.next {
		if err := c.room(); err != nil {
			return 0, err
		}
		c.next = c.n + step
	}
	return len(p), nil
}

// send gives a dump to a node.
func (k *Keeper) send(ctx context.Context, node string, m Manifest, file *os.File) error {
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	return k.o.Peers.Send(ctx, node, m, io.NewSectionReader(file, 0, m.Size))
}

// Fetch writes a dump that another node keeps to a file, which is whole or absent. The caller has the
// manifest from that node too.
func Fetch(path string, m Manifest, from io.Reader) error {
	if err := m.Check(); err != nil {
		return err
	}
	s := &Store{dir: filepath.Dir(path)}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return s.disk(err)
	}
	if err := s.fits(m.Size); err != nil {
		return err
	}
	if err := s.fill(path, m, from); err != nil {
		return err
	}
	return datadir.SyncDir(s.dir)
}
