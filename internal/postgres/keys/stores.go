// Package keys keeps the key-value stores of apps.
package keys

import "github.com/picloud/picloud/internal/postgres"

// Stores are the stores of keys, on one database.
type Stores struct{ db *postgres.DB }

// New returns the stores of a database.
func New(db *postgres.DB) Stores { return Stores{db} }

// KV returns the key-value stores of apps.
func (s Stores) KV() KV { return KV(s) }
