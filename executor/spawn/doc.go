// Package spawn starts, inspects and ends worker processes. A Spawner opens the
// worker's program once, finds the strongest sandbox that this machine permits by
// starting a worker for a moment, and starts every other worker in the same way. A
// Process is one running worker: it can be killed, reaped, measured and reniced.
// A Death says how a worker ended.
//
// The package knows nothing of apps, calls or frames beyond the worker's first
// frame; ../DESIGN.md says why it starts processes as it does.
package spawn
