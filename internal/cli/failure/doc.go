// Package failure turns errors into what a person reads and what the exit code
// says: what was tried, on what, why it failed, and what to do next.
package failure
