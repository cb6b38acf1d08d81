package picloud

import "time"

// Deployment records that a version became the live one. The newest deployment
// of a function says what is live.
type Deployment struct {
	ID        int64     `json:"id"`
	App       string    `json:"app"`
	Function  string    `json:"function"`
	Version   int       `json:"version"`
	Rev       int64     `json:"rev"` // catalog revision that carries it
	Rollback  bool      `json:"rollback,omitempty"`
	CreatedBy string    `json:"created_by"`
	CreatedAt time.Time `json:"created_at"`
}
