// Package sandbox takes a worker process's authority away before it reads the
// first byte of user code: Apply puts the layers on, for every thread, and
// Verify reads back from the kernel that they hold.
//
// The worker calls Apply as the first act of main and names the verified layers
// in its Hello; the agent ends a worker that lacks one it requires. What only a
// parent can give, such as another uid or namespaces, the agent adds when it
// starts the process.
package sandbox

// The names of layers, as Hello carries them.
const (
	// NoNewPrivs: no exec can gain privileges any more.
	NoNewPrivs = "no_new_privs"
	// Rlimits: memory, open files, file size and core dumps are bounded.
	Rlimits = "rlimits"
)

// What the agent hands to a worker, besides stdio.
const (
	// SocketFD is the socket to the agent.
	SocketFD = 3
	// ImageFD is the program itself, which is executed through it: the path need
	// not be reachable for the worker's uid. Apply closes it.
	ImageFD = 4
)

// DataSlack is what a Go process maps before it holds anything: RLIMIT_DATA is
// the memory limit plus this.
const DataSlack = 64 << 20

// Options say what the layers are to be.
type Options struct {
	// Memory is the heap limit in bytes, the same as GOMEMLIMIT. Required.
	Memory int64
}

// Apply puts the layers on in this process, for good, and returns the names of
// those that Verify found on. It fails when the system refuses a layer that it
// has; a system without any, such as darwin, gives an empty list.
func Apply(opts Options) ([]string, error) {
	if err := apply(opts); err != nil {
		return nil, err
	}
	return Verify(opts)
}

// Verify returns the names of the layers that are on in every thread of this
// process.
func Verify(opts Options) ([]string, error) { return verify(opts) }

// Required returns the layers that this platform has and the agent insists on.
func Required() []string { return required }
