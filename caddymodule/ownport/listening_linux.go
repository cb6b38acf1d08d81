package ownport

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// listening returns the TCP ports that this process listens on, from /proc. It skips
// entries that it cannot read, since the ports of the settings are known in any
// case.
func listening() map[uint16]struct{} {
	ports := map[uint16]struct{}{}
	own := map[string]struct{}{}
	files, _ := os.ReadDir("/proc/self/fd")
	for _, f := range files {
		if name, err := os.Readlink(filepath.Join("/proc/self/fd", f.Name())); err == nil && strings.HasPrefix(name, "socket:[") {
			own[strings.Trim(name, "socket:[]")] = struct{}{}
		}
	}
	for _, table := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		file, err := os.Open(table)
		if err != nil {
			continue
		}
		for lines := bufio.NewScanner(file); lines.Scan(); {
			// sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …
			fields := strings.Fields(lines.Text())
			if len(fields) < 10 || fields[3] != "0A" {
				continue
			}
			if _, mine := own[fields[9]]; !mine {
				continue
			}
			_, text, _ := strings.Cut(fields[1], ":")
			if port, err := strconv.ParseUint(text, 16, 16); err == nil {
				ports[uint16(port)] = struct{}{}
			}
		}
		file.Close()
	}
	return ports
}
