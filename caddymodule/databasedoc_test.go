package caddymodule

// databaseDoc is what docs/config.md says of the database, of names and of /readyz.
const databaseDoc = `
## The database

Without ` + "`database_url`" + ` the node runs a PostgreSQL of its own, and a stop of the node at any moment ends it. The data folder may
have any name; when its path is too long for a socket, the socket is in the temporary folder.

` + "`PICLOUD_DATABASE_URL`" + ` takes ` + "`postgres://USER:PASSWORD@HOST:5432/DATABASE`" + ` or ` + "`host=HOST user=USER password='PASSWORD' dbname=DATABASE`" + `. In
the first form write the characters ` + "`@ / ? # :`" + ` of a user or a password as ` + "`%40 %2F %3F %23 %3A`" + `; a URL that such a character cuts off is refused.

- **Several hosts**, ` + "`postgres://USER:PASSWORD@db-1,db-2/DATABASE`" + `: the one that accepts writes is used. A standby alone is refused, with a message that
  says so.
- **Poolers**: pgbouncer works with its defaults, ` + "`pool_mode = session`" + `. The modes ` + "`transaction` and `statement`" + ` are refused, because locks, settings and
  notifications belong to a session. A node takes up to 11 connections. ` + "`default_query_exec_mode`" + ` is not needed.
- **Time limits**: an operation of the control API ends after 5 s, whatever the server does; a call makes one for the token, waits
  up to 5 s for its turn to do so when many come at once, and makes one or a few of its own. Operations of functions end after 5 s, the node's own after 20 s. The server ends statements after 4 s, 2.5 s and 10 s;
  the node sets that after it connected, unless the DSN sets ` + "`statement_timeout`, `lock_timeout` or `idle_in_transaction_session_timeout`" + `.
- **A restart of the database** fails no read, and no change that was not being committed. Calls right after the start of a node wait up to 2 s for its first connection.

## Names of nodes

A name belongs to one node of a database. A second node with the name of one that is alive serves what its disk has, leaves the database
alone, and says who has the name: give it another one with ` + "`PICLOUD_NODE_NAME`" + `. A node that was stopped, or was silent for 3 minutes, is dead, and its name is free.
A deploy waits up to 5 s for a node that does not answer, once: until the node is heard from again it is named as missing at
once. ` + "`picloud node rm NAME`" + ` removes a dead node, which stays out then ([operate.md](operate.md#take-a-node-out-of-service)).

## Ready and degraded

` + "`GET /readyz`" + ` on the control port answers without a token:

| Status | Body | Means |
|---|---|---|
| 200 | ` + "`{\"status\":\"ready\",\"missing\":[]}`" + ` | all is there |
| 200 | ` + "`{\"status\":\"degraded\",\"missing\":[\"database\"]}`" + ` | the node serves functions, and lacks what is named |
| 503 | a problem | it serves nothing yet, or shuts down |

A node serves from the copy on its disk when its database is away, and starts from it on a full disk, so ` + "`degraded`" + ` is no reason for a balancer to turn away; who needs the
database asks for the word. ` + "`missing`" + ` names ` + "`database`" + ` (not reached since the start, or no answer when it was last asked: at most a
minute ago), ` + "`disk_copy`" + ` (a power cut would bring back an older state here), ` + "`current_catalog`" + ` (not compared with the database for two minutes: what is served may be old),
` + "`disk_space`" + ` (less than 1 MiB), ` + "`secrets`" + ` (they cannot be opened here).
`
