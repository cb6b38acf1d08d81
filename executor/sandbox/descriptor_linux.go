package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// closeInherited closes the descriptors above SocketFD: the program's own image, and
// those that the agent inherited without knowing. It keeps the runtime's poller, and
// /proc/self/task, which threadsOf closes.
func closeInherited() error {
	const folder = "/proc/self/fd"
	list, err := os.ReadDir(folder)
	if err != nil {
		_ = syscall.Close(ImageFD) // without /proc the report says that the layers are not verified
		return nil
	}
	for _, entry := range list {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil || fd <= SocketFD {
			continue
		}
		target, err := os.Readlink(filepath.Join(folder, entry.Name()))
		if err != nil { // the descriptor of this listing
			continue
		}
		if target == "anon_inode:[eventpoll]" || target == "anon_inode:[eventfd]" || strings.HasSuffix(target, "/task") && strings.HasPrefix(target, "/proc/") {
			continue
		}
		if err := syscall.Close(fd); err != nil {
			return fmt.Errorf("close inherited descriptor %d: %w", fd, err)
		}
	}
	return nil
}
