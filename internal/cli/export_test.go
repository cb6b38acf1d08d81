package cli

// ServiceCredentials is where the credentials of a service are looked for.
var ServiceCredentials = &serviceCredentials
