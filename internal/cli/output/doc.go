// Package output writes what commands of picloud say: as tables for people, as
// JSON or YAML for programs, and never a character that steers the terminal.
package output
