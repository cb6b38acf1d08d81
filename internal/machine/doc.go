// Package machine tells facts of the machine that the node runs on.
package machine
