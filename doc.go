// Package picloud holds the domain of PiCloud: apps, functions, versions,
// deployments, people and their roles, limits, the catalog that nodes serve
// from, and the errors that all of it reports. It depends on the standard
// library only, and every other package may depend on it.
package picloud
