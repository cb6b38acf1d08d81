// Package datadir is the folder that a node keeps its data in: making it, having
// it for oneself, writing files in it that survive power cuts, and the folder
// beside it for sockets.
package datadir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/picloud/picloud"
)

// Prepare makes a data folder and proves that it can be written. As root the
// folder lets others pass through, for the managed PostgreSQL has an account of
// its own; what is private inside is 0600 or 0700.
func Prepare(dir string) error {
	const op = "use data folder"
	root := os.Geteuid() == 0
	mode := fs.FileMode(0o700)
	if root {
		mode = 0o711
	}
	if err := os.MkdirAll(dir, mode); err != nil {
		return unusable(op, dir, err)
	}
	if root {
		info, err := os.Stat(dir)
		if err == nil && info.Mode().Perm()&0o011 != 0o011 {
			err = os.Chmod(dir, info.Mode().Perm()|0o011)
		}
		if err != nil {
			return unusable(op, dir, err)
		}
	}
	probe, err := os.CreateTemp(dir, ".writable-")
	if err != nil {
		return unusable(op, dir, err)
	}
	_, err = probe.WriteString("x") // a full disk lets files be made, but not filled
	if err = errors.Join(err, probe.Close(), os.Remove(probe.Name())); err != nil {
		return unusable(op, dir, err)
	}
	return nil
}

// Resume is Prepare for a start. The folder of a node that started before may be on a
// full disk: functions are served from what is there, and the rest works again when
// there is room.
func Resume(dir string) error {
	err := Prepare(dir)
	if full(err) {
		if _, none := os.Stat(filepath.Join(dir, "node.json")); none == nil {
			return nil
		}
	}
	return err
}

// full reports whether err says that the disk is full.
func full(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// unusable explains trouble with the folder.
func unusable(op, dir string, err error) error {
	e := &picloud.Error{Code: picloud.CodeInvalid, Op: op, Resource: dir, Err: err}
	switch {
	case full(err):
		e.Hint = "free some disk space"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		e.Hint = "make it writable for this user, or choose another data folder with PICLOUD_DATA or --data"
	default:
		e.Hint = "choose another data folder with PICLOUD_DATA or --data"
	}
	return e
}

// Shorten writes a path below the working folder as ./…, as people type it.
func Shorten(path string) string {
	wd, err := os.Getwd()
	if err != nil {
		return path
	}
	rel, err := filepath.Rel(wd, path)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return path
	}
	return "./" + rel
}
