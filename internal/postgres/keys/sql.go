package keys

const (
	// kvHeld begins each write of key $2 of app $1. The key's row is locked, and
	// read as it is then. Time is looked at after the wait.
	kvHeld = `
WITH ` + kvLocked + kvState

	kvLocked = `
held AS MATERIALIZED (
    SELECT version, number, octet_length(key) + coalesce(octet_length(value), 9) AS size, expires_at
    FROM kv WHERE app = $1 AND key = $2`

	kvState = ` FOR NO KEY UPDATE
), entry AS MATERIALIZED (
    SELECT held.*, clock_timestamp() AS now FROM (SELECT 1) AS one LEFT JOIN held ON true
), state AS MATERIALIZED (
    SELECT version AS stored, CASE WHEN version IS NULL OR expires_at <= now THEN 0 ELSE version END AS version,
           number, coalesce(size, 0) AS size, expires_at, now
    FROM entry
)`

	// kvRoom refuses a write that does not fit into $3 keys and $4 bytes. A write
	// that adds a key locks the app against deletion. Other writes do not, because a
	// lock is written to the log and synced. The sum lacks what other writes add
	// meanwhile; see DESIGN.md.
	kvRoom = `
        WHEN keys > 0 AND keys + (SELECT coalesce(sum(u.keys), 0) FROM kv_usage u WHERE u.app = $1) > $3::bigint THEN 'keys'
        WHEN bytes > 0 AND bytes + (SELECT coalesce(sum(u.bytes), 0) FROM kv_usage u WHERE u.app = $1) > $4::bigint THEN 'bytes'
        WHEN stored IS NULL AND NOT EXISTS (SELECT 1 FROM owner) THEN 'no app'
        ELSE 'ok' END AS word
    FROM wish
)`

	kvOwner = `
, owner AS MATERIALIZED (
    SELECT name FROM app_hold($1) AS name WHERE name IS NOT NULL
)`

	// kvKept ends each write. "new" is the new entry. kvKept stores it and counts its
	// size in shard $5, unless another write inserted the key meanwhile.
	kvKept = `
, done AS (
    INSERT INTO kv (app, key, value, number, version, expires_at)
    SELECT $1, $2, value, number, nextval('kv_version'), expires_at FROM new
    ON CONFLICT (app, key) DO UPDATE SET
        value = excluded.value, number = excluded.number, version = excluded.version, expires_at = excluded.expires_at
    WHERE kv.version = (SELECT stored FROM state)
    RETURNING version, number
), counted AS (
    INSERT INTO kv_usage (app, shard, keys, bytes) SELECT $1, $5, keys, bytes FROM verdict, done WHERE keys <> 0 OR bytes <> 0
    ON CONFLICT (app, shard) DO UPDATE SET keys = kv_usage.keys + excluded.keys, bytes = kv_usage.bytes + excluded.bytes
)
SELECT CASE WHEN word = 'ok' AND done.version IS NULL THEN 'stale' ELSE word END, `

	// sqlKVPut sets a key to value $7 or number $8, for $6 ms or for ever, while
	// it has version $9, as picloud.Match: 0 any, -1 none. A key that had another
	// when the statement began is left alone, so that a lost race costs no sync.
	sqlKVPut = `
WITH seen AS MATERIALIZED (
    SELECT $9::bigint = 0 OR greatest($9, 0) = coalesce((SELECT version FROM kv WHERE app = $1 AND key = $2 AND ` + kvAlive + `), 0) AS wanted
),` + kvLocked + ` AND (SELECT wanted FROM seen)` + kvState + kvOwner + `
, wish AS MATERIALIZED (
    SELECT *, (stored IS NULL)::int AS keys, octet_length($2) + coalesce(octet_length($7::bytea), 9) - size AS bytes FROM state
), verdict AS MATERIALIZED (
    SELECT *, CASE
        WHEN $9 <> 0 AND version <> greatest($9, 0) OR NOT (SELECT wanted FROM seen) THEN 'changed'` + kvRoom + `
, new AS MATERIALIZED (
    SELECT $7::bytea AS value, $8::bigint AS number, CASE WHEN $6::bigint > 0 THEN now + $6 * interval '1 ms' END AS expires_at
    FROM verdict WHERE word = 'ok'
)` + kvKept + `coalesce(done.version, 0) FROM verdict LEFT JOIN done ON true`

	// sqlKVIncrement adds $7 to the number of a key. A missing key counts as 0, and
	// the new one lives for $6 ms or for ever.
	sqlKVIncrement = kvHeld + kvOwner + `
, wish AS MATERIALIZED (
    SELECT *, (stored IS NULL)::int AS keys, octet_length($2) + 9 - size AS bytes FROM state
), verdict AS MATERIALIZED (
    SELECT *, CASE
        WHEN version > 0 AND number IS NULL THEN 'not a number'
        WHEN version > 0 AND $7::bigint > 0 AND number > 9223372036854775807 - $7 THEN 'overflow'
        WHEN version > 0 AND $7 < 0 AND number < '-9223372036854775808'::bigint - $7 THEN 'overflow'` + kvRoom + `
, new AS MATERIALIZED (
    SELECT NULL::bytea AS value, CASE WHEN version > 0 THEN number + $7 ELSE $7 END AS number,
           CASE WHEN version > 0 THEN expires_at WHEN $6::bigint > 0 THEN now + $6 * interval '1 ms' END AS expires_at
    FROM verdict WHERE word = 'ok'
)` + kvKept + `coalesce(done.number, 0) FROM verdict LEFT JOIN done ON true`

	// sqlKVDelete removes a key while it has version $4, as picloud.Match, and
	// subtracts its size from shard $3. It removes an expired key too, and reports
	// that there was none. It compares the version of the locked row, because the
	// DELETE itself begins with the snapshot's row.
	sqlKVDelete = kvHeld + `
, verdict AS MATERIALIZED (
    SELECT *, CASE
        WHEN version = 0 THEN 'none'
        WHEN $4::bigint <> 0 AND version <> $4 THEN 'changed'
        ELSE 'ok' END AS word
    FROM state
), gone AS (
    DELETE FROM kv USING verdict
    WHERE kv.app = $1 AND kv.key = $2 AND verdict.stored IS NOT NULL AND verdict.word <> 'changed' RETURNING verdict.size
), counted AS (
    UPDATE kv_usage SET keys = keys - 1, bytes = bytes - gone.size FROM gone WHERE app = $1 AND shard = $3
)
SELECT word FROM verdict`

	// sqlKVSweep removes up to $2 expired entries that nobody is writing. All are
	// taken off one shard: only the sum over the shards means something.
	sqlKVSweep = `
WITH dead AS MATERIALIZED (
    SELECT key, octet_length(key) + coalesce(octet_length(value), 9) AS size FROM kv
    WHERE app = $1 AND expires_at <= now() ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM kv USING dead WHERE kv.app = $1 AND kv.key = dead.key RETURNING dead.size
), freed AS (
    SELECT count(*) AS keys, coalesce(sum(size), 0) AS bytes FROM gone
)
UPDATE kv_usage SET keys = kv_usage.keys - freed.keys, bytes = kv_usage.bytes - freed.bytes
FROM freed
WHERE app = $1 AND shard = (SELECT min(shard) FROM kv_usage WHERE app = $1) AND freed.keys > 0`

	// sqlKVSweepNext removes up to $2 expired entries, that nobody is writing, of the first app
	// after $1 that has any. It returns the app, and how many it removed; no row: there is none.
	sqlKVSweepNext = `
WITH target AS MATERIALIZED (
    SELECT name FROM app
    WHERE name > $1 AND EXISTS (SELECT 1 FROM kv WHERE kv.app = app.name AND expires_at <= now()) ORDER BY name LIMIT 1
), dead AS MATERIALIZED (
    SELECT kv.app, kv.key, octet_length(kv.key) + coalesce(octet_length(kv.value), 9) AS size FROM kv JOIN target ON kv.app = target.name
    WHERE kv.expires_at <= now() ORDER BY kv.expires_at LIMIT $2 FOR UPDATE OF kv SKIP LOCKED
), gone AS (
    DELETE FROM kv USING dead WHERE kv.app = dead.app AND kv.key = dead.key RETURNING dead.size
), freed AS (
    SELECT count(*) AS keys, coalesce(sum(size), 0) AS bytes FROM gone
), counted AS (
    UPDATE kv_usage SET keys = kv_usage.keys - freed.keys, bytes = kv_usage.bytes - freed.bytes
    FROM freed, target
    WHERE app = target.name AND shard = (SELECT min(shard) FROM kv_usage u WHERE u.app = target.name) AND freed.keys > 0
)
SELECT target.name, freed.keys FROM target, freed`

	// sqlKVQuota finds what an app may keep.
	sqlKVQuota = `SELECT settings FROM app WHERE name = $1`

	kvColumns = `key, value, number, version, expires_at`
	kvAlive   = `(expires_at IS NULL OR expires_at > now())`

	sqlKVGet = `SELECT ` + kvColumns + `, 1 FROM kv WHERE app = $1 AND key = $2 AND ` + kvAlive

	// sqlKVList returns the first $5 entries from $2 up to $3 and after $4, or as
	// many of them as have $6 bytes, and how many the first are.
	sqlKVList = `
SELECT ` + kvColumns + `, found FROM (
    SELECT *, count(*) OVER () AS found, row_number() OVER (ORDER BY key) AS place,
           sum(octet_length(key) + coalesce(octet_length(value), 9)) OVER (ORDER BY key) AS size
    FROM (
        SELECT ` + kvColumns + ` FROM kv
        WHERE app = $1 AND key >= $2 AND key < $3 AND key > $4 AND ` + kvAlive + ` ORDER BY key LIMIT $5
    ) AS first
) AS counted
WHERE place = 1 OR size <= $6 ORDER BY key`
)
