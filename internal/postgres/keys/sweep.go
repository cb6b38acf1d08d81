package keys

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud/internal/postgres"
)

// swept is what one step of a sweep did.
type swept struct {
	app  string
	keys int64
}

func sweptRow(row pgx.CollectableRow) (s swept, err error) {
	err = row.Scan(&s.app, &s.keys)
	return s, err
}

// Sweep removes expired entries of all apps, at most 100,000 in one go. It is a duty of the
// manager, whose epoch it proves. It returns how many it removed.
func (x KV) Sweep(ctx context.Context, epoch int64) (removed int64, err error) {
	app := ""
	for range sweepsAtOnce {
		var step []swept
		err := x.db.Lead(ctx, postgres.About("remove expired keys", ""), epoch, func(b *pgx.Batch) {
			postgres.AllInto(b.Queue(sqlKVSweepNext, app, sweepAtOnce), sweptRow, &step)
		})
		if err != nil || len(step) == 0 {
			return removed, err
		}
		removed += step[0].keys
		if step[0].keys < sweepAtOnce {
			app = step[0].app // the rest is being written
		}
	}
	return removed, nil
}
