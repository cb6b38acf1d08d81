package datadir

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"slices"
	"strconv"
	"syscall"

	"github.com/picloud/picloud"
)

// Owners are the ids of the users whose files a command believes although nobody has
// named the files: in a folder such as /tmp everybody can leave a data folder, and what is
// in it decides where tokens are sent and which processes get signals.
type Owners []int

// Believed returns the owners that a command of this process believes: its user, root,
// and, where root runs it through sudo, the user who called sudo.
func Believed(getenv func(string) string) Owners {
	o := Owners{os.Geteuid(), 0}
	if caller, err := strconv.Atoi(getenv("SUDO_UID")); err == nil && os.Geteuid() == 0 {
		o = append(o, caller)
	}
	return o
}

// With returns o and the owner of path. Somebody has named path, or it was checked.
func (o Owners) With(path string) Owners {
	if info, err := os.Stat(path); err == nil {
		return append(slices.Clone(o), ownerOf(info))
	}
	return o
}

// Check refuses a file or folder that belongs to somebody else, and a link of somebody
// else. What does not exist belongs to nobody, and is fine.
func (o Owners) Check(path string) error {
	for _, stat := range []func(string) (fs.FileInfo, error){os.Lstat, os.Stat} {
		info, err := stat(path)
		if err != nil {
			return nil //nolint:nilerr // whoever reads the file meets the same trouble
		}
		if err := o.CheckInfo(path, info); err != nil {
			return err
		}
	}
	return nil
}

// CheckInfo is Check for a file that is open.
func (o Owners) CheckInfo(path string, info fs.FileInfo) error {
	if owner := ownerOf(info); !slices.Contains(o, owner) {
		return &Foreign{Path: path, Owner: userName(owner)}
	}
	return nil
}

// Foreign is the error of a file or folder that belongs to somebody who is not believed.
type Foreign struct {
	Path  string
	Owner string
	Hint  string // what to do; empty: there is no advice
}

// Error implements error.
func (f *Foreign) Error() string { return f.Unwrap().Error() }

// Unwrap returns the error as people read it.
func (f *Foreign) Unwrap() error {
	return &picloud.Error{Code: picloud.CodeInvalid, Op: "use", Resource: f.Path, Detail: f.Detail(), Hint: f.Hint}
}

// Detail says whose it is.
func (f *Foreign) Detail() string { return "it belongs to " + f.Owner + ", and not to you or root" }

// AsOwner refuses to go on as root in a folder of another user, by the owner of path, a file in it:
// what root writes there the node cannot read. Command is what the user is to run.
func AsOwner(path, command string) error {
	info, err := os.Stat(path)
	if err != nil {
		return nil //nolint:nilerr // whoever reads the file meets the same trouble
	}
	return asOwner(os.Geteuid(), ownerOf(info), path, command)
}

// asOwner is AsOwner for a user and an owner; below zero: not known.
func asOwner(uid, owner int, path, command string) error {
	if uid != 0 || owner <= 0 {
		return nil
	}
	name := "'#" + strconv.Itoa(owner) + "'" // as sudo takes a number
	if u, err := user.LookupId(strconv.Itoa(owner)); err == nil {
		name = u.Username
	}
	return &picloud.Error{
		Code: picloud.CodeInvalid, Op: "use", Resource: path, Detail: "it belongs to " + userName(owner) + ", who could not read what root writes beside it",
		Hint: "run the command as that user: sudo -u " + name + " " + command,
	}
}

// userName names a user for people.
func userName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return fmt.Sprintf("%s (uid %d)", u.Username, uid)
	}
	return fmt.Sprintf("uid %d", uid)
}

func ownerOf(info fs.FileInfo) int {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(stat.Uid)
	}
	return -1
}
