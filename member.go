package picloud

import "time"

// Role says what a member may do in an app. Each role includes those below it.
type Role string

// The roles, from least to most.
const (
	RoleViewer    Role = "viewer"    // read functions, code, logs and invocations
	RoleDeveloper Role = "developer" // and deploy, change settings, run drafts
	RoleAdmin     Role = "admin"     // and manage members below owner
	RoleOwner     Role = "owner"     // and manage owners, delete the app
)

// Roles lists the roles from least to most.
var Roles = []Role{RoleViewer, RoleDeveloper, RoleAdmin, RoleOwner}

// rank is 1 for viewer to 4 for owner, 0 for anything else.
func (r Role) rank() int {
	for i, x := range Roles {
		if x == r {
			return i + 1
		}
	}
	return 0
}

// Valid reports whether r is one of Roles.
func (r Role) Valid() bool { return r.rank() > 0 }

// Includes reports whether r allows what other allows.
func (r Role) Includes(other Role) bool { return r.rank() >= other.rank() && other.Valid() }

// User is a person or a machine with an API token.
type User struct {
	Name string `json:"name"`
	// Admin users administer the cluster: create users and apps, and hold the
	// owner role in every app.
	Admin     bool      `json:"admin"`
	CreatedAt time.Time `json:"created_at"`
}

// Member is a user's role in an app.
type Member struct {
	App       string    `json:"app"`
	User      string    `json:"user"`
	Role      Role      `json:"role"`
	GrantedBy string    `json:"granted_by"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}
