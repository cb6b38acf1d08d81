// Package catalog keeps what nodes need in order to serve: apps with their
// variables and secrets, functions, versions of their code, and deployments. It
// keeps the catalog too, which is how nodes pull all of that.
package catalog

import "github.com/picloud/picloud/internal/postgres"

// Stores are the stores of the catalog, on one database.
type Stores struct{ area }

// area is what all stores of the catalog work with.
type area struct {
	db *postgres.DB

	// Bounds of tables; tests make them small.
	maxDeployments int // of one function
	maxTombstones  int
	maxVersions    int // of one function, beside those in its deployments
}

// New returns the stores of a database.
func New(db *postgres.DB) Stores { return Stores{area{db, 1000, 10_000, 1000}} }

// Apps returns the apps of the cluster.
func (s Stores) Apps() Apps { return Apps(s) }

// Env returns the variables of apps.
func (s Stores) Env() Env { return Env(s) }

// Secrets returns the sealed values of apps.
func (s Stores) Secrets() Secrets { return Secrets(s) }

// Functions returns the functions of apps.
func (s Stores) Functions() Functions { return Functions(s) }

// Versions returns the versions of functions' code.
func (s Stores) Versions() Versions { return Versions(s) }

// Deployments returns the records of which versions were live.
func (s Stores) Deployments() Deployments { return Deployments(s) }

// Catalog returns what nodes pull.
func (s Stores) Catalog() Catalog { return Catalog(s) }
