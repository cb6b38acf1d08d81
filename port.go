package picloud

// The ports of a node that nothing else is set for. Node and CLI agree on them.
const (
	DefaultHTTPPort  = 8080 // functions over HTTP
	DefaultHTTPSPort = 8443 // functions over HTTPS
	DefaultAdminPort = 8081 // the control API
)
