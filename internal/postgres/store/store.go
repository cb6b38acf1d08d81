// Package store puts the stores of all areas on one database. Those who need one
// area alone take that package's constructor.
package store

import (
	"github.com/picloud/picloud/internal/postgres"
	"github.com/picloud/picloud/internal/postgres/catalog"
	"github.com/picloud/picloud/internal/postgres/fleet"
	"github.com/picloud/picloud/internal/postgres/keys"
	"github.com/picloud/picloud/internal/postgres/people"
)

// The areas, each under a name of its own, so that DB can embed all of them.
type (
	catalogStores = catalog.Stores
	peopleStores  = people.Stores
	fleetStores   = fleet.Stores
	keyStores     = keys.Stores
)

// DB is a database with all its stores.
type DB struct {
	*postgres.DB
	catalogStores
	peopleStores
	fleetStores
	keyStores
}

// Open prepares a database, as postgres.Open does.
func Open(o postgres.Options) (*DB, error) {
	db, err := postgres.Open(o)
	if err != nil {
		return nil, err
	}
	return &DB{db, catalog.New(db), people.New(db), fleet.New(db), keys.New(db)}, nil
}
