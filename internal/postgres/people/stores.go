// Package people keeps the users of the cluster and their roles in apps.
package people

import "github.com/picloud/picloud/internal/postgres"

// Stores are the stores of people, on one database.
type Stores struct{ db *postgres.DB }

// New returns the stores of a database.
func New(db *postgres.DB) Stores { return Stores{db} }

// Users returns the people and machines that have an API token.
func (s Stores) Users() Users { return Users(s) }

// Members returns the users of apps with their roles.
func (s Stores) Members() Members { return Members(s) }
