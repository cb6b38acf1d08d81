package sandbox

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// emptyRoot replaces the root folder by an empty, read-only one, and detaches the old
// one. The process must have a mount namespace of its own.
func emptyRoot() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", named(err))
	}
	const at = "/proc" // any folder that is always there
	flags := uintptr(unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
	if err := unix.Mount("picloud", at, "tmpfs", flags, "size=4k,nr_inodes=2,mode=555"); err != nil {
		return fmt.Errorf("mount an empty folder: %w", named(err))
	}
	if err := unix.Chdir(at); err != nil {
		return fmt.Errorf("enter the empty folder: %w", named(err))
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", named(err))
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil { // the old root, which lies on top
		return fmt.Errorf("unmount the old root: %w", named(err))
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("enter the new root: %w", named(err))
	}
	return verifyRoot()
}

// verifyRoot checks that the root is the empty folder. All threads share one root.
func verifyRoot() error {
	for _, path := range []string{"/", "/.."} { // "/.." reaches a mount that lies on top of "/"
		var fs unix.Statfs_t
		if err := unix.Statfs(path, &fs); err != nil {
			return fmt.Errorf("look at the new root: %w", named(err))
		}
		if fs.Type != unix.TMPFS_MAGIC || fs.Flags&unix.ST_RDONLY == 0 {
			return errors.New("the new root is not the empty folder")
		}
		list, err := os.ReadDir(path)
		if err != nil {
			return fmt.Errorf("look at the new root: %w", err)
		}
		if len(list) > 0 {
			return errors.New("the new root is not empty")
		}
	}
	return nil
}

// named adds the errno's name.
func named(err error) error {
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		return fmt.Errorf("%s (%w)", unix.ErrnoName(errno), err)
	}
	return err
}
