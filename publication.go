package picloud

// Publication asks for a script to become a version of a function, all in one
// transaction.
type Publication struct {
	App      string
	Function string
	Source   []byte // at most MaxSourceSize, already compiled once
	// Create makes the function when there is none, and for admins of the
	// cluster the app too. Without it a missing function is ErrNotFound.
	Create bool
	// Deploy makes the version the live one.
	Deploy bool
}

// Published is what a Publication led to.
type Published struct {
	Version Version
	// Existing says that the function had a version with this source before.
	Existing bool
	// Deployment carries the version; nil when none was asked for.
	Deployment *Deployment
	// Unchanged says that the version was live already. Deployment is then the one
	// that made it live.
	Unchanged bool
	// AppCreated says that there was no such app before.
	AppCreated bool
}
