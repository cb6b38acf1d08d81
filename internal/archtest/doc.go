// Package archtest keeps the house in order: who may import whom, how large
// files and functions may be, and that every package says what it is for. It
// has tests only.
package archtest
