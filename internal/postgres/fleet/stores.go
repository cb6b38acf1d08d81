// Package fleet keeps the nodes of the cluster, and what the cluster has once.
package fleet

import "github.com/picloud/picloud/internal/postgres"

// Stores are the stores of the fleet, on one database.
type Stores struct{ db *postgres.DB }

// New returns the stores of a database.
func New(db *postgres.DB) Stores { return Stores{db} }

// Nodes returns the nodes of the cluster.
func (s Stores) Nodes() Nodes { return Nodes(s) }

// Cluster returns what the cluster has once.
func (s Stores) Cluster() Cluster { return Cluster(s) }

// Invitations returns the invitations to the cluster.
func (s Stores) Invitations() Invitations { return Invitations(s) }

// Leadership returns the row that decides which node manages the cluster.
func (s Stores) Leadership() Leadership { return Leadership(s) }

// Roles returns the database roles of nodes.
func (s Stores) Roles() Roles { return Roles(s) }
