package machine

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Hardware identifies this machine, and differs on a machine that a copy of its disk is
// put into: the serial number of the board and the addresses of its network cards. Where
// a process sees neither, as in a container, it is the boot of the kernel.
func Hardware() string { return hardware("/") }

// hardware is Hardware with the files below root.
func hardware(root string) string {
	var parts []string
	read := func(path string) {
		if text, err := os.ReadFile(path); err == nil {
			parts = append(parts, strings.Trim(string(text), " \n\x00"))
		}
	}
	read(filepath.Join(root, "sys/firmware/devicetree/base/serial-number"))
	cards, _ := filepath.Glob(filepath.Join(root, "sys/class/net/*/device")) // only of hardware
	for _, card := range cards {
		read(filepath.Join(filepath.Dir(card), "address"))
	}
	if len(parts) == 0 {
		read(filepath.Join(root, "proc/sys/kernel/random/boot_id"))
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}
