package machine

import "golang.org/x/sys/unix"

// Disk returns the bytes that are free on the disk of a folder, for whoever is not root, and how
// many it has.
func Disk(dir string) (free, total int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize), int64(st.Blocks) * int64(st.Bsize), nil //nolint:unconvert // its type differs between systems
}
