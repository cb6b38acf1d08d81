// Package examples holds twenty functions to start from: each says in its first
// lines how to call it, and examples_test.go runs it in the real engine.
package examples
