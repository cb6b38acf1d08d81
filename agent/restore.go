package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/agent/dump"
	"github.com/picloud/picloud/agent/replica"
	"github.com/picloud/picloud/cluster"
	"github.com/picloud/picloud/cluster/identity"
	"github.com/picloud/picloud/cluster/join"
	"github.com/picloud/picloud/cluster/port"
	"github.com/picloud/picloud/internal/backoff"
	"github.com/picloud/picloud/internal/datadir"
	"github.com/picloud/picloud/internal/postgres"
	"github.com/picloud/picloud/internal/postgres/backup"
	"github.com/picloud/picloud/internal/postgres/managed"
	"github.com/picloud/picloud/internal/postgres/store"
)

const (
	// surveyTime bounds the questions to the other nodes about the database.
	surveyTime = 5 * time.Second
	// electTime is how long a restore waits for the others to elect somebody, before it makes
	// this node the only voter.
	electTime = 20 * time.Second
	// startTime is how long it waits for them to know who votes at all.
	startTime = 3 * time.Second
	// noticeTime is how long other nodes may take to notice that the database is gone.
	noticeTime = 10 * time.Second
	// endTime bounds the end of a server that was left in a folder.
	endTime = time.Minute
)

// Survey is the database of a cluster as its nodes know it: what there is of it, and what of
// it other nodes keep. It needs neither the manager nor the database.
type Survey struct {
	Cluster string `json:"cluster"` // its name; empty: the node is alone
	Node    string `json:"node"`    // this node
	// Elsewhere says that the database is at a DSN: whoever runs it keeps its backups.
	Elsewhere bool `json:"elsewhere"`
	// Host is the name of the node that runs the database.
	Host string `json:"host,omitempty"`
	// Answers says that it does. The next three are of a database that answers.
	Answers  bool      `json:"answers"`
	Postgres string    `json:"postgres,omitempty"`
	Size     int64     `json:"size,omitempty"` // in bytes
	Since    time.Time `json:"since,omitzero"`
	// Generation counts how often the database was brought up on another node.
	Generation int64 `json:"generation"`
	// Revision is the newest of the catalog that any node knows.
	Revision int64 `json:"revision"`
	// Dumps are what nodes keep, the newest first.
	Dumps []KeptDump `json:"dumps"`
	// Silent are the members that did not say what they keep.
	Silent []string `json:"silent"`
	// Every is how often a dump is made; below zero: never.
	Every time.Duration `json:"every"`

	hostID  string
	reached string // a node that says that it reaches the database, though this one does not
	epoch   int64
	removed []string // who are no members any more, as anybody says that may manage
	known   []backup.Member
}

// KeptDump is a dump that a node keeps.
type KeptDump struct {
	Node string `json:"node"` // its name
	dump.Manifest

	id string // of the node
}

// idle is the node of a data folder that does not run here. It can ask the others.
func idle(opts Options) (*Agent, error) {
	self := filepath.Join(opts.DataDir, "node.json")
	if _, err := os.Stat(self); err != nil {
		return nil, &picloud.Error{Code: picloud.CodeNotFound, Op: "find node", Resource: opts.DataDir, Detail: "no node has kept anything there", Hint: "name its data folder with --data"}
	}
	if err := datadir.AsOwner(self, "picloud database …"); err != nil {
		return nil, err
	}
	a, err := New(opts)
	if err != nil {
		return nil, err
	}
	if a.identity, err = loadIdentity(a.opts.DataDir); err != nil {
		return nil, err
	}
	if err := a.openCluster(); err != nil {
		return nil, err
	}
	return a, a.misplaced
}

// SurveyDatabase asks the nodes about the database of their cluster. It works beside a node
// that runs on the data folder, and without one.
func SurveyDatabase(ctx context.Context, opts Options) (Survey, error) {
	a, err := idle(opts)
	if err != nil {
		return Survey{}, err
	}
	defer a.forwarder.closeIdle()
	if a.cluster.Removed() { // the others answer it nothing
		return Survey{}, a.outcast()
	}
	return a.survey(ctx), nil
}

// DumpDatabase makes the node of the database give a dump of it to other nodes at once.
func DumpDatabase(ctx context.Context, opts Options) (m dump.Manifest, err error) {
	a, err := idle(opts)
	if err != nil {
		return m, err
	}
	defer a.forwarder.closeIdle()
	if a.cluster.Removed() {
		return m, a.outcast()
	}
	host := a.cluster.State().Database.Host
	switch {
	case !a.cluster.Member():
		return m, &picloud.Error{Code: picloud.CodeDump, Op: "dump database", Detail: "this node is alone, so nobody else can keep a dump", Hint: "docs/operate.md says how to make a backup with pg_dump"}
	case host == "":
		return m, &picloud.Error{Code: picloud.CodeDump, Op: "dump database", Detail: "the database is elsewhere: its backups are those of whoever runs it"}
	}
	if err := askOver(ctx, takeTime, a.forwarder.patient, host, http.MethodPost, pathDumps, struct{}{}, &m); err != nil {
		return m, err
	}
	return m, m.Check()
}

// takeTime bounds a dump that somebody waits for, and its way to two nodes: some GB take their time
// on a card.
const takeTime = 90 * time.Minute

// survey asks everybody at once.
func (a *Agent) survey(ctx context.Context) Survey {
	state := a.cluster.State()
	s := Survey{
		Cluster: state.Name, Node: cmp.Or(a.cluster.Peer().Name, a.opts.NodeName), Generation: state.Database.Generation, Revision: replica.KeptRevision(a.opts.DataDir),
		Dumps: []KeptDump{}, Silent: []string{}, Every: cmp.Or(a.opts.DumpEvery, dump.DefaultEvery), hostID: state.Database.Host,
	}
	s.Elsewhere = state.Database.DSN != "" || a.opts.DatabaseURL != ""
	if !a.cluster.Member() && !s.Elsewhere {
		s.hostID = a.identity.ID
	}
	for _, m := range dump.NewStore(dumpsDir(a.opts.DataDir)).List() {
		s.Dumps = append(s.Dumps, KeptDump{s.Node, m, a.identity.ID})
	}
	if peer := a.cluster.Peer(); peer.Node != "" {
		s.known = append(s.known, backup.Member{ID: peer.Node, Name: peer.Name, Role: picloud.NodeRole(peer.Role), Address: state.Address})
	}
	ctx, cancel := context.WithTimeout(ctx, surveyTime)
	defer cancel()
	var mu sync.Mutex
	var asking sync.WaitGroup
	var views []hostView
	for _, m := range state.Members {
		asking.Go(func() {
			peer, v, kept, err := a.surveyed(ctx, m)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				s.Silent = append(s.Silent, m.Name)
			}
			if peer.Node != "" {
				s.known = append(s.known, backup.Member{ID: peer.Node, Name: peer.Name, Role: picloud.NodeRole(peer.Role), Address: m.Address})
			}
			if v != nil {
				views = append(views, *v)
			}
			for _, d := range kept {
				if d.Check() == nil && d.Cluster == state.Cluster {
					s.Dumps = append(s.Dumps, KeptDump{m.Name, d, m.Node})
				}
			}
		})
	}
	if s.hostID == a.identity.ID && !a.cluster.Removed() {
		asking.Go(func() {
			if v, err := a.ownDatabase(ctx); err == nil {
				mu.Lock()
				defer mu.Unlock()
				views = append(views, v)
			}
		})
	}
	asking.Wait()
	s.removed = slices.Clone(state.Removed)
	s.weigh(views)
	s.Host = a.nameOf(s.hostID)
	if s.hostID == a.identity.ID {
		s.Host = s.Node
	}
	slices.Sort(s.Silent)
	slices.SortFunc(s.Dumps, func(a, b KeptDump) int {
		return cmp.Or(b.Compare(a.Manifest), cmp.Compare(a.Node, b.Node))
	})
	return s
}

// weigh makes one picture of what the nodes say. This node may have been off while the database
// moved: the latest generation counts.
func (s *Survey) weigh(views []hostView) {
	for _, v := range views {
		s.Revision, s.epoch = max(s.Revision, v.Revision), max(s.epoch, v.Epoch)
		if v.Generation > s.Generation {
			s.Generation, s.hostID = v.Generation, v.Host
		}
		for _, node := range v.Removed {
			if !slices.Contains(s.removed, node) {
				s.removed = append(s.removed, node)
			}
		}
	}
	s.reached = ""
	for _, v := range views {
		if v.Reaches && v.Host == s.hostID && v.Generation == s.Generation {
			s.reached = v.Node
		}
		if v.Node == s.hostID && v.Answers {
			s.Answers, s.Size, s.Since, s.Postgres = true, v.Size, v.Since, v.Postgres
		}
	}
}

// surveyed asks one member: who it is, by its certificate, what it knows of the database, and
// what it keeps. A node that serves functions only keeps nothing.
func (a *Agent) surveyed(ctx context.Context, m join.Member) (peer identity.Peer, v *hostView, kept []dump.Manifest, err error) {
	conn, err := a.cluster.Dial(ctx, m.Node, port.RPC)
	if err != nil {
		return peer, nil, nil, err
	}
	peer = port.PeerOf(conn)
	conn.Close()
	if peer.Role != identity.Manager {
		return peer, nil, nil, nil
	}
	v = &hostView{}
	if err := a.ask(ctx, m.Node, http.MethodGet, pathDatabase, nil, v); err != nil {
		return peer, nil, nil, err
	}
	v.Node = m.Node
	return peer, v, kept, a.ask(ctx, m.Node, http.MethodGet, pathDumps, nil, &kept)
}

// ownDatabase asks the server of this data folder how it is.
func (a *Agent) ownDatabase(ctx context.Context) (v hostView, err error) {
	server, err := managed.New(managed.Options{DataDir: a.opts.DataDir, BinDir: a.opts.PostgresBin})
	if err != nil {
		return v, err
	}
	db, err := store.Open(postgres.Options{DSN: managed.DSN, Socket: server.Socket()})
	if err != nil {
		return v, err
	}
	defer db.Close()
	facts, err := db.Cluster().Server(ctx)
	v.Host, v.Node, v.Generation = a.identity.ID, a.identity.ID, a.cluster.State().Database.Generation
	v.Answers, v.Size, v.Since, v.Postgres, v.Revision = true, facts.Size, facts.Since, facts.Version, facts.Revision
	return v, err
}

// Restore is the bringing up of the cluster's database on this node, from a dump.
type Restore struct {
	Survey
	From KeptDump // the dump, and who keeps it
	// Better is a dump that holds more, if there is one.
	Better *KeptDump
	// Aside is the folder of an older database of this node, which is put aside; empty: none is.
	Aside string

	a     *Agent
	force bool
	begun time.Time
	made  backup.Restored
	alone bool          // the nodes that are left cannot elect a manager among themselves
	lock  *datadir.Lock // of the folder in which the database is made
}

// PlanRestore says what it would mean to bring the database up on this node from the newest dump that
// a node keeps, by its name. It changes nothing. Force goes on although the database answers.
func PlanRestore(ctx context.Context, opts Options, from string, force bool) (*Restore, error) {
	const op = "restore database"
	a, err := idle(opts)
	if err != nil {
		return nil, err
	}
	refuse := func(code picloud.Code, detail, hint string) (*Restore, error) {
		return nil, &picloud.Error{Code: code, Op: op, Detail: detail, Hint: hint}
	}
	switch {
	case !a.cluster.Member():
		return refuse(picloud.CodeInvalid, "this node is no member of a cluster", "docs/operate.md says how to restore the backup of a node that is alone")
	case a.cluster.State().Database.DSN != "":
		return refuse(picloud.CodeInvalid, "the database is elsewhere: it is restored where it runs", "")
	case a.serves():
		return refuse(picloud.CodeInvalid, "this node serves functions only, and can neither manage the cluster nor keep its database", "run the command on a node that may manage: `picloud node ls`")
	case a.cluster.Removed():
		return nil, a.outcast()
	}
	r := &Restore{begun: time.Now(), Survey: a.survey(ctx), a: a, force: force}
	if slices.Contains(r.removed, a.identity.ID) {
		return nil, removedFrom(a.cluster.State().Name)
	}
	if err := r.awaitSilence(ctx); err != nil {
		return nil, err
	}
	found := false
	for _, d := range r.Dumps {
		if d.Node == from || d.id == from {
			r.From, found = d, true
			break
		}
	}
	if !found {
		hint := "no node that answers keeps one"
		if len(r.Dumps) > 0 {
			hint = "the newest one is on " + r.Dumps[0].Node + ": --from " + r.Dumps[0].Node
		}
		return refuse(picloud.CodeDump, from+" keeps no dump, or does not answer", hint)
	}
	if best := r.Dumps[0]; best.Newer(r.From.Manifest) {
		r.Better = &best
	}
	if _, err := os.Stat(filepath.Join(a.opts.DataDir, "postgres")); err == nil {
		r.Aside = filepath.Join(a.opts.DataDir, "postgres.aside-"+time.Now().UTC().Format("20060102T150405Z"))
	}
	return r, backup.Fits(ctx, a.opts.PostgresBin, r.From.Postgres, r.From.Migration)
}

// awaitSilence refuses to go on while the database answers, or another node reaches it. One
// that has not noticed yet gets a moment.
func (r *Restore) awaitSilence(ctx context.Context) error {
	for !r.force {
		e := &picloud.Error{Code: picloud.CodeConflict, Op: "restore database"}
		switch {
		case r.Answers:
			e.Detail, e.Hint = fmt.Sprintf("the database on %s answers: nothing needs to be restored", r.Host), "stop that node first if you mean it, or use --force"
			return e
		case r.reached == "":
			return nil
		case time.Since(r.begun) > noticeTime || !backoff.Pause(ctx, time.Second):
			e.Detail = fmt.Sprintf("%s says that it reaches the database on %s, though this node does not", r.a.nameOf(r.reached), r.Host)
			e.Hint = "mend the network between the two; if that node is gone, try again in a minute, or use --force"
			return e
		}
		r.Survey = r.a.survey(ctx)
	}
	return nil
}

// restoreDir is where a database is made before it is moved to its place.
func (r *Restore) restoreDir() string { return filepath.Join(r.a.opts.DataDir, "restore") }

// Prepare fetches the dump and makes the database of it, beside a node that runs. Nothing of
// what the node has is touched. Close undoes it.
func (r *Restore) Prepare(ctx context.Context) (err error) {
	dir := r.restoreDir()
	if err := datadir.Prepare(dir); err != nil {
		return err
	}
	if r.lock, err = datadir.Acquire(dir); err != nil {
		return err
	}
	if err := r.clear(ctx); err != nil {
		return err
	}
	path := filepath.Join(dir, "fetched.dump")
	if r.From.id == r.a.identity.ID {
		err = r.fetchOwn(path)
	} else {
		err = r.a.fetch(ctx, r.From.id, r.From.Manifest, path)
	}
	if err != nil {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("restore database: %w", err)
	}
	defer file.Close()
	r.made, err = backup.Restore(ctx, file, backup.Plan{
		Dir: dir, PostgresBin: r.a.opts.PostgresBin, Cluster: r.a.cluster.State().Cluster, Host: r.a.identity.ID,
		Removed: r.gone(), Members: r.known, Rev: max(r.Revision, r.From.Revision), Epoch: r.epoch, TakenAt: r.From.TakenAt, Lock: r.lock,
	})
	if err == nil {
		r.alone = r.leaderless(ctx) // now, because the stop of this node may cost the others their majority
	}
	return err
}

// fetchOwn copies a dump that this node keeps, and compares it with its digest.
func (r *Restore) fetchOwn(path string) error {
	file, err := dump.NewStore(dumpsDir(r.a.opts.DataDir)).Open(r.From.Manifest)
	if err != nil {
		return err
	}
	defer file.Close()
	return dump.Fetch(path, r.From.Manifest, file)
}

// gone are the nodes that are no members any more: those before, and the host.
func (r *Restore) gone() []string {
	out := slices.Clone(r.removed)
	if r.hostID != r.a.identity.ID && !slices.Contains(out, r.hostID) {
		out = append(out, r.hostID)
	}
	return out
}

// clear ends a server that a restore which was killed has left in the folder, and empties it.
func (r *Restore) clear(ctx context.Context) error {
	if err := endServer(ctx, r.restoreDir(), r.a.opts.PostgresBin, r.lock); err != nil {
		return err
	}
	entries, err := os.ReadDir(r.restoreDir())
	if err != nil {
		return fmt.Errorf("restore database: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(r.restoreDir(), e.Name())
		if path == datadir.LockPath(r.restoreDir()) {
			continue
		}
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("restore database: %w", err)
		}
	}
	return nil
}

// endServer ends the server that a process which was killed has left in a data folder.
func endServer(ctx context.Context, dir, bin string, lock *datadir.Lock) error {
	server, err := managed.New(managed.Options{DataDir: dir, BinDir: bin, Lock: lock})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	return server.Stop(ctx)
}

// Take makes the prepared database the cluster's, and this node its host. The caller has
// stopped the node and holds the lock of its data folder; the node's next start takes it up.
//
// What is written comes in an order in which the command can be repeated after a crash: the
// state of the cluster is the last, so the database is where it was. If it was on this node, it
// may be in the folder Aside by then; the node makes no new one in its place.
func (r *Restore) Take(ctx context.Context, lock *datadir.Lock) error {
	a, data := r.a, r.a.opts.DataDir
	// The node has written newer states of the cluster while the operator thought about it.
	if err := a.openCluster(); err != nil {
		return err
	}
	if a.misplaced != nil {
		return a.misplaced
	}
	if err := r.unchanged(a.survey(ctx)); err != nil {
		return err
	}
	if err := endServer(ctx, data, a.opts.PostgresBin, lock); err != nil {
		return err
	}
	place := filepath.Join(data, "postgres")
	if r.Aside != "" {
		if err := os.Rename(place, r.Aside); err != nil {
			return fmt.Errorf("put the old database aside: %w", err)
		}
	}
	if err := os.Rename(filepath.Join(r.restoreDir(), "postgres"), place); err != nil {
		if r.Aside != "" {
			err = errors.Join(err, os.Rename(r.Aside, place))
		}
		return fmt.Errorf("move the restored database to its place: %w", err)
	}
	if err := datadir.SyncDir(data); err != nil {
		return err
	}
	if err := a.onlyVoter(); err != nil { // of a restore that was cut short
		return err
	}
	if r.alone {
		if err := noteOnlyVoter(data, r.made.Term); err != nil {
			return err
		}
	}
	moved := cluster.Moved{Host: a.identity.ID, Generation: max(r.Generation, r.From.Generation) + 1, Removed: r.gone()}
	if news, err := a.cluster.Follow(moved); err != nil || !news {
		return errors.Join(errors.New("restore database: this node cannot take down that it runs the database"), err)
	}
	return a.onlyVoter()
}

// unchanged refuses when the cluster is not any more what the database was prepared for.
func (r *Restore) unchanged(now Survey) error {
	e := &picloud.Error{Code: picloud.CodeConflict, Op: "restore database", Hint: "start this node again"}
	prepared := r.gone()
	switch {
	case now.Generation > r.Generation:
		e.Detail = "the database was brought up on " + now.Host + " meanwhile: nothing was changed"
		return e
	case now.Answers && r.hostID != r.a.identity.ID && !r.force:
		e.Detail = "the database on " + now.Host + " answers again: nothing was changed"
		return e
	}
	for _, node := range now.removed {
		if !slices.Contains(prepared, node) {
			e.Detail = r.a.nameOf(node) + " was removed meanwhile, and the database that was prepared has it as a member: nothing was changed"
			e.Hint = "run the command again"
			return e
		}
	}
	return nil
}

// leaderless reports whether the nodes that are left cannot elect a manager among
// themselves: none of them knows one, though they had the time.
func (r *Restore) leaderless(ctx context.Context) bool {
	if r.hostID == r.a.identity.ID {
		return false // the voters are those that they were
	}
	ctx, cancel := context.WithDeadline(ctx, r.begun.Add(electTime))
	defer cancel()
	for {
		alive, voters, led := []string{r.a.identity.ID}, []string(nil), false
		r.a.ofManagers(ctx, r.hostID, func(v hostView) bool {
			alive = append(alive, v.Node)
			if len(v.Voters) > len(voters) {
				voters = v.Voters
			}
			led = led || v.Leader != "" && v.Leader != r.hostID
			return led
		})
		if led || len(alive) == 1 {
			return !led
		}
		left := len(slices.DeleteFunc(slices.Clone(voters), func(v string) bool { return !slices.Contains(alive, v) }))
		// With too few voters there is nothing to wait for. Nodes that know none are no members of
		// the elections yet; one that has just started knows them in a moment.
		if left <= len(voters)/2 && (len(voters) > 0 || time.Since(r.begun) > startTime) {
			return true
		}
		if !backoff.Pause(ctx, time.Second) {
			return true
		}
	}
}

// Made is the revision of the restored catalog.
func (r *Restore) Made() int64 { return r.made.Rev }

// Close removes what Prepare has made and Take did not move.
func (r *Restore) Close() error {
	defer r.a.forwarder.closeIdle()
	if r.lock == nil {
		return nil
	}
	err := r.clear(context.Background())
	r.lock.Release()
	if left := os.RemoveAll(r.restoreDir()); err == nil && left != nil && !errors.Is(left, fs.ErrNotExist) {
		err = left
	}
	return err
}
