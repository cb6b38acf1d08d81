package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/agent/broker"
	"github.com/picloud/picloud/cluster"
	"github.com/picloud/picloud/cluster/identity"
	"github.com/picloud/picloud/executor"
	"github.com/picloud/picloud/internal/datadir"
	"github.com/picloud/picloud/internal/postgres"
	"github.com/picloud/picloud/internal/postgres/managed"
	"github.com/picloud/picloud/internal/postgres/store"
	"github.com/picloud/picloud/internal/seal"
)

// Finding is what the doctor says of one part of a node.
type Finding struct {
	Part   string `json:"part"`  // "data folder"
	State  string `json:"state"` // "ok", "warn" or "fail"
	Detail string `json:"detail,omitempty"`
	Remedy string `json:"remedy,omitempty"` // what to do; empty when all is well
}

// Doctor examines what a node with these options would meet on this machine,
// whether it runs or not. It leaves nothing behind.
func Doctor(ctx context.Context, opts Options) []Finding {
	opts, err := opts.Complete()
	if err != nil {
		return []Finding{finding("settings", "", err)}
	}
	findings := append([]Finding{
		dataFinding(opts),
		memoryFinding(opts),
		filesFinding(),
		credentialsFinding(opts),
		keyFinding(ctx, opts),
		databaseFinding(ctx, opts),
		executorFinding(opts),
	}, sandboxFindings(ctx, opts)...)
	return append(findings, rolesFindings(ctx, opts)...)
}

// rolesFindings looks at the database role of a member of a cluster.
func rolesFindings(ctx context.Context, opts Options) []Finding {
	const part = "database role"
	if _, err := os.Stat(filepath.Join(opts.DataDir, "node.json")); err != nil {
		return nil
	}
	id, err := loadIdentity(opts.DataDir)
	if err != nil {
		return nil
	}
	c, err := cluster.Open(cluster.Options{Dir: clusterDir(opts.DataDir), Node: id.ID, Now: opts.now})
	if err != nil || !c.Member() {
		return nil
	}
	member := Finding{Part: "place in the cluster", State: "ok", Detail: "member of " + c.State().Name}
	if _, expires := c.Validity(); c.Expired() {
		member = finding(member.Part, "", expired(c.State().Name, expires))
	} else if place := c.State(); c.Removed() && place.Database.DSN == "" && place.Database.Host == id.ID {
		member = finding(member.Part, "", elsewhere(place.Name))
	} else if c.Removed() {
		member = finding(member.Part, "", removedFrom(place.Name))
	}
	role := Finding{Part: part, State: "ok", Detail: "the owner's"}
	database := c.State().Database
	switch {
	case database.Role != "":
		role.Detail = "this node has its own, " + database.Role
	case database.DSN != "":
		db, err := store.Open(postgres.Options{DSN: cmp.Or(opts.DatabaseURL, database.DSN)})
		if err != nil {
			return []Finding{member, finding(part, "", err)}
		}
		defer db.Close()
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		switch possible, err := db.Roles().Possible(ctx); {
		case err != nil:
			role = Finding{Part: part, State: "warn", Detail: "the database does not answer whether this role may make others"}
		case !possible:
			role = Finding{
				Part: part, State: "warn",
				Detail: "this role may make no others, so that all nodes share it: a node that serves functions only can read and change everything in the database",
				Remedy: "ALTER ROLE name CREATEROLE, then remove the nodes that serve only and invite them again",
			}
		case c.Peer().Role == identity.Node:
			role = Finding{
				Part: part, State: "warn", Detail: "this node serves functions only, and uses the role of a manager: it can read and change everything in the database",
				Remedy: "remove the node, run picloud node reset there, and invite it again",
			}
		}
	}
	return []Finding{member, role}
}

// finding is "fail" with the error's own remedy, or "ok".
func finding(part, detail string, err error) Finding {
	if err == nil {
		return Finding{Part: part, State: "ok", Detail: detail}
	}
	f := Finding{Part: part, State: "fail", Detail: err.Error()}
	if e, ok := errors.AsType[*picloud.Error](err); ok {
		f.Remedy = e.Hint
	}
	return f
}

func dataFinding(opts Options) Finding {
	const part = "data folder"
	if _, err := os.Stat(opts.DataDir); errors.Is(err, os.ErrNotExist) {
		return Finding{Part: part, State: "ok", Detail: opts.DataDir + " will be made at the first start"}
	}
	if err := datadir.Prepare(opts.DataDir); err != nil {
		return finding(part, "", err)
	}
	switch pid, held, err := datadir.Holder(opts.DataDir); {
	case err != nil:
		return finding(part, "", err)
	case held && pid != 0:
		return Finding{Part: part, State: "ok", Detail: fmt.Sprintf("%s, a node runs on it (process %d)", opts.DataDir, pid)}
	case held:
		return Finding{Part: part, State: "ok", Detail: opts.DataDir + ", a node runs on it"}
	}
	return Finding{Part: part, State: "ok", Detail: opts.DataDir + ", no node runs on it"}
}

// fewFiles is a limit of open files that a node with connections of many clients
// meets: each call holds two or three.
const fewFiles = 1024

// filesFinding looks at how many files and connections a node may have open. Go raises
// the soft limit to the hard one.
func filesFinding() Finding {
	const part = "open files"
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return finding(part, "", err)
	}
	if limit.Cur >= fewFiles {
		return Finding{Part: part, State: "ok", Detail: fmt.Sprintf("%d, connections among them", limit.Cur)}
	}
	return Finding{
		Part: part, State: "warn", Detail: fmt.Sprintf("%d only, connections among them: clients wait, and executors start with a weaker sandbox, when none is left", limit.Cur),
		Remedy: "raise the hard limit: ulimit -Hn 65536 in the shell that starts the node, or LimitNOFILE=65536 in its service",
	}
}

func credentialsFinding(opts Options) Finding {
	const part = "first-run credentials"
	path := filepath.Join(opts.DataDir, "credentials")
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return Finding{Part: part, State: "ok", Detail: "none here; the first start of an empty database saves some, and later picloud user token admin --local does"}
	case err != nil:
		return finding(part, "", err)
	case info.Mode().Perm()&0o077 != 0:
		return Finding{
			Part: part, State: "warn", Detail: fmt.Sprintf("%s has mode %o: others can read the admin's token", path, info.Mode().Perm()),
			Remedy: "chmod 600 " + path + ", then picloud user token admin",
		}
	}
	return Finding{Part: part, State: "ok", Detail: path}
}

// keyFinding compares the node's key for secrets with the cluster's, if the
// database can be asked.
func keyFinding(ctx context.Context, opts Options) Finding {
	const part = "cluster key"
	v := broker.NewVault(opts.DataDir, slog.New(slog.DiscardHandler))
	path := seal.Path(opts.DataDir)
	id, asked := clusterKeyID(ctx, opts)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) && id == "" {
		if _, err := os.Stat(filepath.Join(opts.DataDir, "node.json")); asked || err != nil {
			return Finding{Part: part, State: "ok", Detail: "none here; the first node of a database makes one"}
		}
		return Finding{
			Part: part, State: "warn", Detail: "none here, and the database does not answer whether the cluster has one; the first node of a database makes it",
		}
	}
	v.Expect(id)
	v.Look()
	if _, trouble := v.State(); trouble != nil {
		f := finding(part, "", trouble)
		f.Detail += "; functions that use no secrets are served"
		return f
	}
	detail := path + "; keep a copy of it elsewhere, for without it nobody can read the secrets"
	switch host := hostOf(opts); {
	case asked:
	case host != "":
		detail += " (not compared with the cluster's: only the node itself reaches the database of " + host + ")"
	default:
		detail += " (not compared with the cluster's: the database does not answer)"
	}
	return Finding{Part: part, State: "ok", Detail: detail}
}

// clusterKeyID asks the database which key is the cluster's.
func clusterKeyID(ctx context.Context, opts Options) (id string, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	o := postgres.Options{DSN: databaseURL(opts)}
	if o.DSN == "" {
		if hostOf(opts) != "" {
			return "", false
		}
		server, err := managed.New(managed.Options{DataDir: opts.DataDir, BinDir: opts.PostgresBin})
		if err != nil {
			return "", false
		}
		o.DSN, o.Socket = managed.DSN, server.Socket()
	}
	db, err := store.Open(o)
	if err != nil {
		return "", false
	}
	defer db.Close()
	id, err = db.Cluster().KeyID(ctx)
	return id, err == nil
}

// databaseURL is the DSN of a database elsewhere: this node's own, or its cluster's. "" means
// that a node of the cluster runs the database.
func databaseURL(opts Options) string {
	_, place := membershipOf(opts)
	return cmp.Or(opts.DatabaseURL, place.Database.DSN)
}

// hostOf names the other node whose database this one uses; "" when there is none.
func hostOf(opts Options) string {
	self, place := membershipOf(opts)
	host := place.Database.Host
	if host == "" || host == self || databaseURL(opts) != "" {
		return ""
	}
	for _, m := range place.Members {
		if m.Node == host {
			return m.Name
		}
	}
	return host
}

// membershipOf reads the id of the node and its place in a cluster; both are empty when it has none.
func membershipOf(opts Options) (self string, place cluster.State) {
	if _, err := os.Stat(filepath.Join(opts.DataDir, "node.json")); err != nil {
		return "", cluster.State{}
	}
	id, err := loadIdentity(opts.DataDir)
	if err != nil {
		return "", cluster.State{}
	}
	c, err := cluster.Open(cluster.Options{Dir: clusterDir(opts.DataDir), Node: id.ID, Now: opts.now})
	if err != nil || !c.Member() {
		return id.ID, cluster.State{}
	}
	return id.ID, c.State()
}

func databaseFinding(ctx context.Context, opts Options) Finding {
	const part = "database"
	dsn := databaseURL(opts)
	if dsn == "" {
		found, err := managed.Find(ctx, opts.PostgresBin)
		host := hostOf(opts)
		switch {
		case host == "":
			return finding(part, fmt.Sprintf("managed PostgreSQL %s, binaries in %s", found.Version, found.Dir), err)
		case err != nil: // it serves without them
			return Finding{Part: part, State: "ok", Detail: "that of " + host + ", through its cluster port; there is no PostgreSQL here to restore it with"}
		}
		return Finding{Part: part, State: "ok", Detail: fmt.Sprintf("that of %s, through its cluster port; PostgreSQL %s in %s could restore it here", host, found.Version, found.Dir)}
	}
	db, err := postgres.Open(postgres.Options{DSN: dsn})
	if err != nil {
		return finding(part, "", err)
	}
	defer db.Close()
	whose := "at the configured DSN"
	if opts.DatabaseURL == "" {
		whose = "of the cluster"
	}
	return finding(part, "PostgreSQL "+whose+" answers", db.Ping(ctx))
}

func executorFinding(opts Options) Finding {
	const part = "executor"
	path := opts.WorkerPath
	if path == "" {
		own, err := os.Executable()
		if err != nil {
			return finding(part, "", err)
		}
		path = filepath.Join(filepath.Dir(own), "picloud-executor")
		if _, err := os.Stat(path); err != nil {
			return Finding{
				Part: part, State: "warn", Detail: "picloud-executor is not beside " + own + "; picloud itself serves, which starts slower and takes more memory",
				Remedy: "put picloud-executor of the same version beside it",
			}
		}
	}
	_, err := os.Stat(path)
	return finding(part, path, err)
}

// sandboxFindings starts a throw-away executor, which shows that the whole way of
// spawning works, and tells of each layer of its sandbox whether it is on.
func sandboxFindings(ctx context.Context, opts Options) []Finding {
	const part = "sandbox"
	exec, err := executor.New(executor.Options{WorkerPath: opts.WorkerPath, Sandbox: opts.Sandbox, Logger: slog.New(slog.DiscardHandler)})
	if err == nil {
		err = exec.Start(ctx)
	}
	if err != nil {
		return []Finding{finding(part, "", err)}
	}
	defer exec.Stop()
	begin := time.Now()
	_, err = exec.Compile(ctx, []byte("function handle(req) { return 1 }"), "doctor")
	box := exec.Sandbox()
	detail := fmt.Sprintf("%s; executors start %s, and one compiled a script in %d ms", box.Mode, box.Plan, time.Since(begin).Milliseconds())
	list := []Finding{finding(part, detail, err)}
	lacks := box.Lacks()
	for _, l := range box.Layers {
		list = append(list, layerFinding(l, box.Mode, lacks))
	}
	return list
}

// layerFinding is "fail" where strict needs the layer, and "warn" where it would
// only add to what is on.
func layerFinding(l executor.SandboxLayer, mode string, lacks [][]string) Finding {
	f := Finding{Part: "sandbox: " + l.Name, State: "ok", Detail: l.Meaning}
	if l.On {
		return f
	}
	f.State, f.Detail, f.Remedy = "warn", "off: "+l.Reason, l.Remedy
	needed := slices.ContainsFunc(lacks, func(either []string) bool { return slices.Contains(either, l.Name) })
	if needed && mode == executor.SandboxStrict {
		f.State = "fail"
	}
	return f
}
