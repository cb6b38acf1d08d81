//go:build !linux

package machine

import "os"

// Hardware identifies this machine, as far as its name does.
func Hardware() string {
	name, _ := os.Hostname() // empty is compared too
	return name
}
