// Package backup makes dumps of the database that a node runs, and a database of a dump.
//
// A dump is one snapshot: what Facts say of it was read in the same one. A restored database
// goes on as another history of the same cluster. It has a new incarnation and a later
// revision than any node has seen, so that every node takes the whole catalog; a later epoch,
// so that no manager of the lost history can write; and no open invitation.
package backup

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/datadir"
	"github.com/picloud/picloud/internal/postgres"
	"github.com/picloud/picloud/internal/postgres/managed"
	"github.com/picloud/picloud/migrations"
)

const (
	// sqlFacts reads what a dump holds.
	sqlFacts = `
SELECT c.id::text, h.incarnation::text, h.rev, now(), split_part(current_setting('server_version'), ' ', 1), (SELECT max(number) FROM migration)
FROM cluster c, catalog_head h`

	sqlSnapshot = `SELECT pg_export_snapshot()`

	// sqlRestoredGroup makes the role whose name a setting of the session has.
	sqlRestoredGroupName = `SELECT set_config('picloud.group', $1, false)`
	sqlRestoredGroup     = `DO $group$ BEGIN EXECUTE format('CREATE ROLE %I NOLOGIN', current_setting('picloud.group')); END $group$`

	// sqlRestoredNodes takes the nodes out of the database that are none any more: $1 are their
	// ids. They are refused from then on, and the keys of the gossip have to be changed. The clock of
	// this board may be behind: they are removed after the dump was taken, at $3.
	sqlRestoredNodes = `
WITH gone AS (
    DELETE FROM node WHERE id = ANY ($1::uuid[]) RETURNING id, name
), refused AS (
    INSERT INTO removed_node (id, name, removed_by, removed_at)
    SELECT ids.id, coalesce(gone.name, 'removed'), 'restore', greatest(now(), $3) FROM unnest($1::uuid[]) AS ids (id) LEFT JOIN gone USING (id)
    ON CONFLICT (id) DO NOTHING
    RETURNING id
)
UPDATE cluster SET
    gossip_stale = gossip_stale OR ca_key IS NOT NULL AND EXISTS (SELECT 1 FROM refused),
    founder = CASE WHEN founder = ANY ($1::uuid[]) THEN $2::uuid ELSE founder END`

	// sqlRestoredMember adds a node that became a member after the dump was taken. Its
	// certificate has proved that.
	sqlRestoredMember = `
INSERT INTO node (id, name, version, rev, started_at, seen_at, role, address)
SELECT $1::uuid, $2, '', 0, now(), now() - interval '1 day', $3::node_role, $4
WHERE NOT EXISTS (SELECT 1 FROM removed_node WHERE id = $1::uuid)
ON CONFLICT DO NOTHING`

	// sqlRestoredRole raises a node that was promoted after the dump was taken: so says its certificate.
	sqlRestoredRole = `UPDATE node SET role = 'manager' WHERE id = $1::uuid AND role <> 'manager' AND $2::node_role = 'manager'`

	// sqlRestoredHead begins another history of the catalog, behind revision $1 of the lost one.
	sqlRestoredHead = `UPDATE catalog_head SET incarnation = gen_random_uuid(), rev = greatest(rev, $1) + 1 RETURNING rev, incarnation::text`

	// sqlRestoredLead leaves a gap behind the newest epoch that anybody has told of: nobody can
	// tell of all that the lost history had.
	sqlRestoredLead = `UPDATE leadership SET epoch = greatest(epoch, $1) + 1000, lease_until = NULL RETURNING raft_term`

	// sqlRestoredKeys does the same for the versions of keys and values, by which programs
	// compare.
	sqlRestoredKeys = `SELECT setval('kv_version', (SELECT last_value FROM kv_version) + 1000000000)`

	// sqlRestoredInvitations takes back the invitations: some of their uses may be lost.
	sqlRestoredInvitations = `DELETE FROM invitation`
)

// Facts are what a dump holds.
type Facts struct {
	Cluster     string // UUID
	Incarnation string // of the catalog, a UUID
	Rev         int64  // of the catalog
	TakenAt     time.Time
	Postgres    string // the version of the server, such as "15.18"
	Migration   int    // the newest one
}

// Take writes a dump of a server's database, and returns what it holds. It holds up nobody:
// it reads one snapshot.
func Take(ctx context.Context, server *managed.Server, to io.Writer) (f Facts, err error) {
	conn, err := server.Connect(ctx)
	if err != nil {
		return f, err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it is of no further use
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return f, fmt.Errorf("dump database: %w", err)
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // it has only read
	var snapshot string
	if err := tx.QueryRow(ctx, sqlSnapshot).Scan(&snapshot); err != nil {
		return f, fmt.Errorf("dump database: %w", err)
	}
	if err := tx.QueryRow(ctx, sqlFacts).Scan(&f.Cluster, &f.Incarnation, &f.Rev, &f.TakenAt, &f.Postgres, &f.Migration); err != nil {
		return f, fmt.Errorf("dump database: read what it holds: %w", err)
	}
	f.TakenAt = f.TakenAt.UTC()
	err = server.Run(ctx, "pg_dump", nil, to, "--format=custom", "--no-owner", "--no-sync", "--snapshot="+snapshot, "--dbname="+Database)
	return f, err
}

// Database is the name of the database.
const Database = "picloud"

// Member is a node that has shown a certificate of the cluster.
type Member struct {
	ID, Name string
	Role     picloud.NodeRole
	Address  string // host:port of its cluster port
}

// Plan says what a restored database is to be.
type Plan struct {
	// Dir is the data folder of the new server; its data is in the subfolder postgres.
	Dir string
	// PostgresBin is the folder of PostgreSQL's binaries. Default: searched.
	PostgresBin string
	// Cluster is the cluster's UUID: a dump of another one is refused. Required.
	Cluster string
	// Host is the node that runs it from now on. Required.
	Host string
	// Removed are the ids of the nodes that are no members any more.
	Removed []string
	// Members are nodes that are members, though the dump may not know it.
	Members []Member
	// TakenAt is when the dump was taken, by the clock of the host before.
	TakenAt time.Time
	// Rev and Epoch are the newest ones that any node knows of the history that is lost.
	Rev, Epoch int64
	// Lock is the lock on Dir when the caller holds it.
	Lock *datadir.Lock
	// NoSync is that of managed.Options. For tests only.
	NoSync bool
	// Logger receives what the server does. Default: discard.
	Logger *slog.Logger
}

// Restored says what a restored database holds.
type Restored struct {
	Rev         int64
	Incarnation string
	Term        uint64 // the newest one that Raft brought before the dump
}

// Fits says why this machine cannot restore a dump of a PostgreSQL version and a migration,
// or nil.
func Fits(ctx context.Context, bin, version string, migration int) error {
	found, err := managed.Find(ctx, bin)
	if err != nil {
		return err
	}
	if here, there := managed.Major(found.Version), managed.Major(version); here < there {
		return &picloud.Error{
			Code: picloud.CodeDatabaseDown, Op: "restore database", Detail: fmt.Sprintf("the dump is of PostgreSQL %d, and this machine has %d", there, here),
			Hint: fmt.Sprintf("install the newer one: sudo apt-get install -y postgresql-%d", there),
		}
	}
	if level := migrations.Level(); level < migration {
		return &picloud.Error{
			Code: picloud.CodeDatabaseDown, Op: "restore database", Detail: fmt.Sprintf("the dump is at migration %d, and this PiCloud knows %d", migration, level),
			Hint: "upgrade PiCloud on this machine first",
		}
	}
	return nil
}

// Restore makes a database of a dump in a folder of its own, and leaves it stopped there. The
// caller moves it to its place, and removes the folder when there is an error.
func Restore(ctx context.Context, dump *os.File, p Plan) (out Restored, err error) {
	group, err := groupOf(p.Cluster)
	if err != nil {
		return out, err
	}
	server, err := managed.New(managed.Options{DataDir: p.Dir, BinDir: p.PostgresBin, Lock: p.Lock, NoSync: p.NoSync, Logger: p.Logger})
	if err != nil {
		return out, err
	}
	if err := server.Start(ctx); err != nil {
		return out, err
	}
	defer func() {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		if stopped := server.Stop(stopping); err == nil {
			err = stopped
		}
	}()
	conn, err := server.Connect(ctx)
	if err != nil {
		return out, err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it is of no further use
	// The dump has the rights of this role and no role: what it takes from everybody else
	// must be taken from them again.
	if _, err := conn.Exec(ctx, sqlRestoredGroupName, group); err != nil {
		return out, fmt.Errorf("restore database: %w", err)
	}
	if _, err := conn.Exec(ctx, sqlRestoredGroup); err != nil {
		return out, fmt.Errorf("restore database: %w", err)
	}
	if err := server.Run(ctx, "pg_restore", dump, io.Discard, "--no-owner", "--exit-on-error", "--dbname="+Database); err != nil {
		return out, err
	}
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		var f Facts
		if err := tx.QueryRow(ctx, sqlFacts).Scan(&f.Cluster, &f.Incarnation, &f.Rev, &f.TakenAt, &f.Postgres, &f.Migration); err != nil {
			return err
		}
		if f.Cluster != p.Cluster {
			return postgres.About("restore database", "").Fail(picloud.CodeConflict, "the dump is of the cluster "+f.Cluster, "take one of this cluster: `picloud database status`")
		}
		return change(ctx, tx, p, &out)
	})
	if err != nil {
		return out, fmt.Errorf("restore database: %w", err)
	}
	return out, nil
}

// maxTold bounds what other nodes tell of revisions and epochs: a wrong one must not keep the
// database from being restored.
const maxTold = 1 << 60

// change makes the restored database another history.
func change(ctx context.Context, tx pgx.Tx, p Plan, out *Restored) error {
	if _, err := tx.Exec(ctx, sqlRestoredNodes, p.Removed, p.Host, p.TakenAt); err != nil {
		return err
	}
	for _, m := range p.Members {
		if _, err := tx.Exec(ctx, sqlRestoredMember, m.ID, m.Name, string(m.Role), m.Address); err != nil {
			return err
		}
	}
	for _, m := range p.Members {
		if _, err := tx.Exec(ctx, sqlRestoredRole, m.ID, string(m.Role)); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(ctx, sqlRestoredInvitations); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, sqlRestoredKeys); err != nil {
		return err
	}
	var term int64
	if err := tx.QueryRow(ctx, sqlRestoredLead, min(p.Epoch, maxTold)).Scan(&term); err != nil {
		return err
	}
	out.Term = uint64(max(term, 0))
	return tx.QueryRow(ctx, sqlRestoredHead, min(p.Rev, maxTold)).Scan(&out.Rev, &out.Incarnation)
}

// groupOf is the role of the nodes that serve functions only, as fleet.Roles names it.
func groupOf(cluster string) (string, error) {
	digits := strings.ReplaceAll(strings.ToLower(cluster), "-", "")
	if raw, err := hex.DecodeString(digits); err != nil || len(raw) != 16 {
		return "", fmt.Errorf("restore database: %q is no id of a cluster", picloud.Shorten(cluster, 60))
	}
	return "picloud_node_" + digits[:12], nil
}
