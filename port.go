package picloud

// The default ports of a node. The CLI uses them too.
const (
	DefaultHTTPPort  = 8080 // functions over HTTP
	DefaultHTTPSPort = 8443 // functions over HTTPS
	DefaultAdminPort = 8081 // the control API
)
