package managed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/picloud/picloud"
)

// account is who the server runs as.
type account struct {
	name     string
	uid, gid int
	agent    string // the name of the account that we run as
}

// chooseAccount returns our own account, or when we are root one without
// privileges: the owner of the data, else postgres, else nobody. PostgreSQL
// refuses to run as root.
func chooseAccount(data string) (account, error) {
	self, err := user.LookupId(strconv.Itoa(os.Geteuid()))
	if err != nil {
		return account{}, &picloud.Error{
			Code: picloud.CodeDatabaseDown, Op: "choose account of PostgreSQL",
			Detail: fmt.Sprintf("uid %d has no name on this machine, and the server lets only named users log in", os.Geteuid()),
			Hint:   "run as a user that /etc/passwd lists", Err: err,
		}
	}
	if os.Geteuid() != 0 {
		if info, err := os.Stat(data); err == nil && owner(info) != os.Geteuid() {
			return account{}, diskError("use database folder", data, fmt.Errorf("it belongs to uid %d, not to %s", owner(info), self.Username))
		}
		return makeAccount(self, self.Username)
	}
	if info, err := os.Stat(data); err == nil && owner(info) != 0 {
		of, err := user.LookupId(strconv.Itoa(owner(info)))
		if err != nil {
			return account{}, diskError("use database folder", data, fmt.Errorf("it belongs to uid %d, which has no name on this machine", owner(info)))
		}
		return makeAccount(of, self.Username)
	}
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			return makeAccount(u, self.Username)
		}
	}
	return account{}, &picloud.Error{
		Code: picloud.CodeDatabaseDown, Op: "choose account of PostgreSQL",
		Detail: "PostgreSQL refuses to run as root, and there is neither an account postgres nor nobody",
		Hint:   "create the account postgres, or run PiCloud as a normal user",
	}
}

func makeAccount(u *user.User, agent string) (account, error) {
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return account{}, fmt.Errorf("read uid of %q: %w", u.Username, err)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return account{}, fmt.Errorf("read gid of %q: %w", u.Username, err)
	}
	return account{name: u.Username, uid: uid, gid: gid, agent: agent}, nil
}

func owner(info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}

// other reports whether the account is not our own.
func (a account) other() bool { return a.uid != os.Geteuid() }

// own makes the account the owner of a file or folder that we made.
func (a account) own(path string) error {
	if !a.other() {
		return nil
	}
	return os.Lchown(path, a.uid, a.gid)
}

// attr starts a process as the account, in a session of its own: neither a
// Ctrl-C on our terminal nor our death reaches it.
func (a account) attr() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: true}
	if a.other() {
		attr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	}
	return attr
}

// environment is all that the server's programs are told.
func environment() []string {
	return []string{"PATH=/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
}

// reach makes sure that the account can enter dir, or names the folder above
// it that stands in the way.
func (a account) reach(program, dir string) error {
	if a.enters(program, dir) == nil {
		return nil
	}
	for _, folder := range upwards(dir) {
		if a.enters(program, folder) == nil {
			continue
		}
		return &picloud.Error{
			Code: picloud.CodeDatabaseDown, Op: "use data folder", Resource: dir,
			Detail: fmt.Sprintf("PostgreSQL runs as %s, which cannot enter %s", a.name, folder),
			Hint:   "choose another data folder: PICLOUD_DATA=/var/lib/picloud",
		}
	}
	return nil
}

// enters tries to enter a folder as the account, by a program that does
// nothing: mode bits alone do not tell, where there are access lists.
func (a account) enters(program, dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "--version")
	cmd.Dir, cmd.Env, cmd.SysProcAttr = dir, environment(), a.attr()
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil // it was entered, and something else is wrong
	}
	return err
}

// upwards lists a folder and those above it, the root first.
func upwards(dir string) []string {
	if parent := filepath.Dir(dir); parent != dir {
		return append(upwards(parent), dir)
	}
	return []string{dir}
}

// diskError explains trouble with a file or folder of the data folder.
func diskError(op, path string, err error) error {
	e := &picloud.Error{Code: picloud.CodeDatabaseDown, Op: op, Resource: path, Err: err}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		e.Hint = "free some disk space"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		e.Hint = "make it writable for this user, or choose another data folder with PICLOUD_DATA"
	default:
		e.Hint = "choose another data folder with PICLOUD_DATA"
	}
	return e
}
