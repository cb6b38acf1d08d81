// Command bench measures what PiCloud costs, side by side in one run: bare
// Caddy, Caddy inside PiCloud's binary, frames to a worker that does nothing,
// and a real function; then cold starts, deploys and memory. Loads go to
// loopback only and are bounded in count and time.
package main
