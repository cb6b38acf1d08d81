// Package test holds the suites that need whole nodes: the real binaries, as a
// user starts them, with what breaks at home: kills, full disks, damaged
// files, a database that is gone. It has tests only.
package test
