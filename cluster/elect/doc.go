// Package elect decides which node of a cluster is its manager.
//
// An Elector only proposes. The fence in PostgreSQL decides: it gives the elected node
// an epoch, and each write of the manager proves that epoch (fencing token). Two nodes
// may believe for a moment that they lead; only one of them can write.
//
// Raft is the elector of clusters with three managers or more, and of a node that is
// alone. Its log holds nothing but "node X leads in term T", so that it is written when
// the leader or the members change, and never else. Lease is the elector of two nodes
// whose database is elsewhere: a lease in the same row of PostgreSQL, renewed only
// while the nodes do not see each other.
//
// Losing the leadership ends the duties within a second. It never ends the process and
// never touches the calls of functions. A Raft that is sick (a hung or full disk, a
// leader that cannot commit) is given up and built anew in the same process; a damaged
// folder is put aside, and the node waits until the leader brings it up to date.
//
// Membership comes from the caller: gossip says who is alive, the database who may
// vote. Plan is the policy, a pure function.
package elect
