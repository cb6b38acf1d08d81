package picloud

// Actor is who asks for a change.
type Actor struct {
	User string
	// Admin users of the cluster hold the owner role in every app.
	Admin bool
}
