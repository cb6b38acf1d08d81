// Package postgres keeps PiCloud's state in PostgreSQL: apps with their
// variables, secrets and keys, members, users, functions, versions,
// deployments, the catalog that nodes pull, and the nodes themselves. There is
// one file per resource; it holds the resource's SQL as constants whose names
// begin with "sql", each of which a test prepares against the migrated schema.
//
// Writes check what they rely on, the actor's rights included, where the
// database sees it: in the statement itself, or in a transaction that took the
// deciding lock before it looked. DESIGN.md tells how.
package postgres
