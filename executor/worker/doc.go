// Package worker is the process's own side of an executor: it takes frames from
// the agent, compiles programs and runs their handlers, and answers.
//
// One goroutine reads. Each call runs in a goroutine of a small pool, so that a call
// that waits for the agent does not hold up the others. Loads run one after the other,
// and are answered in the order in which they came.
// The process ends when the agent closes the socket.
package worker
