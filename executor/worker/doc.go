// Package worker is the process's own side of an executor: it takes frames from
// the agent, compiles programs and runs their handlers, and answers.
//
// One goroutine reads. A call runs in a goroutine of a small pool, so that one
// that waits for the agent holds up no other; loads run one behind the other in
// the order in which they came, which is the order in which they are answered.
// The process ends when the agent closes the socket.
package worker
