// Package postgres is the way to PiCloud's state in PostgreSQL: connection pools,
// transactions and reads on behalf of an actor, errors for people, pagination,
// notifications, and migrations. The stores stand on top of it: catalog, people,
// keys and fleet; store puts all of them on one database.
//
// A store's SQL is constants whose names begin with "sql"; a test prepares each
// of them against the migrated schema.
//
// Writes check what they rely on, the actor's rights included, where the
// database sees it: in the statement itself, or in a transaction that took the
// deciding lock before it looked. DESIGN.md tells how.
package postgres
