package fleet

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
)

// Leadership is the one row that decides which node manages the cluster. It is the
// fence: Raft, or the lease of a cluster of two, only proposes.
//
// The epoch names one leadership. It grows with each change of the holder and never
// falls, so that a statement of an earlier holder is refused (fencing token). The
// database's clock is the only one that decides when a lease is over.
type Leadership struct{ db *postgres.DB }

// Contended is what the nodes are told when one of them contends for the leadership: the holder
// has to show that it is alive.
const Contended = "contended"

// Held is the state of the leadership.
type Held struct {
	Cluster  string // the cluster's id
	Term     uint64 // the newest term that Raft brought
	Epoch    int64
	Node     string        // the holder; empty: nobody
	Leased   bool          // the holder has to renew, else another node may take the leadership
	Left     time.Duration // what is left of the lease; below zero when it is over
	Acquired time.Time     // zero: nobody
}

const (
	// sqlLeadershipAcquire is what a node asks that Raft elected. It is idempotent, for a
	// reply that was lost. It refuses an earlier term, another node in the same term (it
	// forgot its vote), and another cluster. In the same term, a node that lost the
	// leadership to a lease gets it back when that lease is over.
	sqlLeadershipAcquire = `
UPDATE leadership SET
    epoch = epoch + (raft_term < $2 OR node_id IS DISTINCT FROM $3::uuid)::int,
    raft_term = $2, node_id = $3::uuid, acquired_at = clock_timestamp(), lease_until = NULL
WHERE cluster_id = $1::uuid
    AND (raft_term < $2 OR raft_term = $2 AND (node_id = $3::uuid OR lease_until < clock_timestamp()))
RETURNING epoch`

	// leaseTaken says whether a lease makes the node $2 the holder: it is already, or
	// nobody is, or the lease of the holder is over.
	leaseTaken = `(node_id IS NULL OR node_id = $2::uuid OR coalesce(lease_until < clock_timestamp(), false))`

	// sqlLeadershipLease takes, renews or contends for a lease, whichever the row allows.
	// A holder that names its epoch in $4 renews; one that does not, begins a new
	// leadership. When the holder is another node that needs no lease so far, the
	// statement gives it one, and the nodes hear of that: a holder that is alive renews it,
	// and one that is gone loses it. While another node's lease runs, the statement changes
	// nothing.
	sqlLeadershipLease = `
WITH changed AS (
    UPDATE leadership SET
        epoch = epoch + (` + leaseTaken + ` AND epoch IS DISTINCT FROM nullif($4::bigint, 0))::int,
        acquired_at = CASE WHEN ` + leaseTaken + ` AND epoch IS DISTINCT FROM nullif($4::bigint, 0) THEN clock_timestamp() ELSE acquired_at END,
        node_id = CASE WHEN ` + leaseTaken + ` THEN $2::uuid ELSE node_id END,
        lease_until = clock_timestamp() + $3::bigint * interval '1 microsecond'
    WHERE cluster_id = $1::uuid AND (` + leaseTaken + ` OR lease_until IS NULL)
    RETURNING node_id
)
SELECT count(pg_notify('picloud_node', '` + Contended + `')) FROM changed WHERE node_id IS DISTINCT FROM $2::uuid`

	// sqlLeadershipRenew prolongs a lease that somebody gave to the holder; an
	// undisputed leadership stays one.
	sqlLeadershipRenew = `
UPDATE leadership SET lease_until = clock_timestamp() + $3::bigint * interval '1 microsecond'
WHERE epoch = $1 AND node_id = $2::uuid AND lease_until IS NOT NULL`

	// sqlLeadershipRest ends the need to renew: the others see that the holder is alive.
	sqlLeadershipRest = `UPDATE leadership SET lease_until = NULL WHERE epoch = $1 AND node_id = $2::uuid AND lease_until IS NOT NULL`

	// sqlLeadershipRelease lets another node take the leadership at once.
	sqlLeadershipRelease = `UPDATE leadership SET lease_until = clock_timestamp() WHERE epoch = $1 AND node_id = $2::uuid`

	sqlLeadershipShow = `
SELECT cluster_id::text, raft_term, epoch, coalesce(node_id::text, ''), lease_until IS NOT NULL,
    coalesce(extract(epoch FROM lease_until - clock_timestamp()) * 1000000, 0)::bigint, acquired_at
FROM leadership`

	// sqlLeadershipRefound gives the holder $2 a term of its own, behind which it begins
	// Raft's group anew: the epoch is its own, none of $3 is a member, and nobody but $4 may
	// manage. A node that comes too late finds another epoch, so that no two begin one
	// behind the same term.
	sqlLeadershipRefound = `
UPDATE leadership SET raft_term = raft_term + 1
WHERE epoch = $1 AND node_id = $2::uuid
    AND NOT EXISTS (SELECT 1 FROM node WHERE id::text = ANY ($3))
    AND NOT EXISTS (SELECT 1 FROM node WHERE role = 'manager' AND id::text <> ALL ($4))
RETURNING raft_term`

	// sqlLeadershipRecover gives a node a term of its own, because an operator says so.
	sqlLeadershipRecover = `UPDATE leadership SET raft_term = raft_term + 1 WHERE cluster_id = $1::uuid RETURNING raft_term`

	// sqlLeadershipAdopt gives the leadership to the cluster that remains after the folders
	// of Raft were lost on all nodes. Terms start anew, and epochs go on.
	sqlLeadershipAdopt = `
UPDATE leadership SET cluster_id = $1::uuid, raft_term = 0, epoch = epoch + 1, node_id = NULL, acquired_at = NULL, lease_until = NULL`
)

// Acquire takes the leadership for a node that Raft elected in a term, and returns the
// epoch. It fails with picloud.CodeDeposed when the row belongs to a later term, to
// another node, or to another cluster. After it has returned, no statement of an
// earlier epoch can commit any more.
func (l Leadership) Acquire(ctx context.Context, cluster string, term uint64, node string) (epoch int64, err error) {
	s := postgres.About("take the leadership", "")
	err = l.db.Run(ctx, l.db.Duties(), s, func(ctx context.Context) error {
		err := l.db.Duties().QueryRow(ctx, sqlLeadershipAcquire, cluster, int64(term), node).Scan(&epoch)
		if errors.Is(err, pgx.ErrNoRows) {
			return l.refused(ctx, s, cluster)
		}
		return err
	})
	return epoch, err
}

// Holder returns the node that holds the leadership; "": nobody.
func (l Leadership) Holder(ctx context.Context) (node string, err error) {
	h, err := l.Show(ctx)
	return h.Node, err
}

// Lease takes, renews or contends for the leadership by a lease of the given length.
// epoch is the one that the node holds; 0: none, so that it begins a leadership of its
// own when it gets the lease. It returns the holder, its epoch, and what is left of its
// lease. It fails with picloud.CodeDeposed when the row belongs to another cluster.
func (l Leadership) Lease(ctx context.Context, cluster, node string, epoch int64, length time.Duration) (holder string, now int64, left time.Duration, err error) {
	s := postgres.About("take the leadership by a lease", "")
	var h Held
	err = l.db.Run(ctx, l.db.Duties(), s, func(ctx context.Context) error {
		b := &pgx.Batch{}
		b.Queue(sqlLeadershipLease, cluster, node, length.Microseconds(), epoch)
		b.Queue(sqlLeadershipShow).QueryRow(h.scan)
		if err := l.db.Duties().SendBatch(ctx, b).Close(); err != nil {
			return err
		}
		if h.Cluster != cluster {
			return foreign(s, h.Cluster)
		}
		return nil
	})
	return h.Node, h.Epoch, h.Left, err
}

// Renew prolongs the lease of the holder when it has to renew. A length of 0 ends the need
// to: the nodes see each other. It fails with picloud.CodeDeposed when the epoch is over.
func (l Leadership) Renew(ctx context.Context, epoch int64, node string, length time.Duration) error {
	if length <= 0 {
		return l.keep(ctx, postgres.About("rest the leadership", ""), epoch, node, sqlLeadershipRest, epoch, node)
	}
	return l.keep(ctx, postgres.About("renew the leadership", ""), epoch, node, sqlLeadershipRenew, epoch, node, length.Microseconds())
}

// Release gives the leadership away: another node may take it at once.
func (l Leadership) Release(ctx context.Context, epoch int64, node string) error {
	return l.keep(ctx, postgres.About("release the leadership", ""), epoch, node, sqlLeadershipRelease, epoch, node)
}

// keep sends a statement of the holder.
func (l Leadership) keep(ctx context.Context, s postgres.Subject, epoch int64, node, sql string, args ...any) error {
	return l.db.Run(ctx, l.db.Duties(), s, func(ctx context.Context) error {
		var h Held
		b := &pgx.Batch{}
		b.Queue(sql, args...)
		b.Queue(sqlLeadershipShow).QueryRow(h.scan)
		if err := l.db.Duties().SendBatch(ctx, b).Close(); err != nil {
			return err
		}
		if h.Epoch != epoch || h.Node != node {
			return s.Deposed()
		}
		return nil
	})
}

// Refound returns the term behind which the holder begins Raft's group anew, with itself as
// the only voter. It fails with picloud.CodeDeposed when the epoch is over, when one of gone is
// a member all the same, or when a node that is none of known may manage. No two nodes get the
// same term.
func (l Leadership) Refound(ctx context.Context, epoch int64, node string, gone, known []string) (term uint64, err error) {
	if gone == nil {
		gone = []string{}
	}
	return l.behind(ctx, postgres.About("begin the elections anew", ""), func(s postgres.Subject) error { return s.Deposed() },
		sqlLeadershipRefound, epoch, node, gone, known)
}

// Recover returns the term behind which a node begins Raft's group anew because an operator
// says that the majority of the voters is lost. No two nodes get the same term.
func (l Leadership) Recover(ctx context.Context, cluster string) (term uint64, err error) {
	return l.behind(ctx, postgres.About("begin the elections anew", ""), func(s postgres.Subject) error {
		h, err := l.Show(ctx)
		if err == nil {
			err = foreign(s, h.Cluster)
		}
		return err
	}, sqlLeadershipRecover, cluster)
}

// behind sends a statement that returns a term, or no row when it is refused.
func (l Leadership) behind(ctx context.Context, s postgres.Subject, refused func(postgres.Subject) error, sql string, args ...any) (uint64, error) {
	var term int64
	err := l.db.Run(ctx, l.db.Duties(), s, func(ctx context.Context) error {
		err := l.db.Duties().QueryRow(ctx, sql, args...).Scan(&term)
		if errors.Is(err, pgx.ErrNoRows) {
			return refused(s)
		}
		return err
	})
	return uint64(term), err
}

// Show returns the state of the leadership.
func (l Leadership) Show(ctx context.Context) (h Held, err error) {
	s := postgres.About("read the leadership", "")
	err = l.db.Look(ctx, l.db.Duties(), s, func(ctx context.Context) error {
		return h.scan(l.db.Duties().QueryRow(ctx, sqlLeadershipShow))
	})
	return h, err
}

// Adopt gives the leadership to a cluster whose terms start anew, because the folders of
// Raft were lost on all nodes. Whoever leads is deposed. An operator decides it.
func (l Leadership) Adopt(ctx context.Context, cluster string) error {
	s := postgres.About("adopt the cluster", cluster)
	return l.db.Run(ctx, l.db.Duties(), s, func(ctx context.Context) error {
		_, err := l.db.Duties().Exec(ctx, sqlLeadershipAdopt, cluster)
		return err
	})
}

// refused says why a node does not get the leadership.
func (l Leadership) refused(ctx context.Context, s postgres.Subject, cluster string) error {
	var h Held
	if err := h.scan(l.db.Duties().QueryRow(ctx, sqlLeadershipShow)); err != nil {
		return err
	}
	if h.Cluster != cluster {
		return foreign(s, h.Cluster)
	}
	return s.Deposed()
}

// foreign says that the database belongs to another cluster than the node.
func foreign(s postgres.Subject, cluster string) error {
	return s.Fail(picloud.CodeDeposed, "the database belongs to the cluster "+cluster,
		"the node keeps serving what it has; join it to that cluster, or give it the database of its own")
}

func (h *Held) scan(row pgx.Row) error {
	var term, left int64
	var acquired *time.Time
	if err := row.Scan(&h.Cluster, &term, &h.Epoch, &h.Node, &h.Leased, &left, &acquired); err != nil {
		return err
	}
	h.Term, h.Left, h.Acquired = uint64(term), time.Duration(left)*time.Microsecond, time.Time{}
	if acquired != nil {
		h.Acquired = *acquired
	}
	return nil
}
