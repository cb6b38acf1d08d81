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
	Previous  int       `json:"previous,omitempty"` // the version that was live before; 0: none, or it is no longer known
	CreatedBy string    `json:"created_by"`
	CreatedAt time.Time `json:"created_at"`
}

// Rollout is what a request to make a version live led to.
type Rollout struct {
	Deployment
	// Unchanged says that the version was live already. Deployment is then the one
	// that made it live.
	Unchanged bool
	// RollbackTo is the version that the next rollback makes live when it names
	// none; 0: there is no such version. Only a rollback fills it.
	RollbackTo int
}
