package datadir

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/picloud/picloud"
)

// maxSocketDir leaves room for the longest socket name below a run folder: the
// kernel takes paths of 107 bytes.
const maxSocketDir = 80

// temporary holds the run folders that cannot stand below their data folder. It does not
// depend on TMPDIR: a node and the commands that look for it can have different ones.
const temporary = "/tmp"

// RunPath returns the folder for a node's own sockets: run below the data folder,
// or, where that path is too long for a socket or Caddy would read a part of it as a
// socket's mode (|), a private folder below the temporary one. It makes nothing.
func RunPath(dataDir string) string { return runPath(dataDir, os.Geteuid()) }

// runPath is RunPath for a node that runs as another user.
func runPath(dataDir string, uid int) string {
	dir := filepath.Join(dataDir, "run")
	if len(dir) > maxSocketDir || strings.Contains(dir, "|") {
		dir = Temporary(dataDir, uid)
	}
	return dir
}

// Temporary is the path of a short folder for sockets that belong to a data folder with a
// long path. The user of the sockets is a part of it, so that a folder that somebody else
// has made in its place hinders one user only.
func Temporary(dataDir string, uid int) string {
	sum := sha256.Sum256([]byte(dataDir))
	return filepath.Join(temporary, "picloud-"+strconv.Itoa(uid)+"-"+hex.EncodeToString(sum[:6]))
}

// nodeSocket is the name of the socket on which a node answers the commands of its machine.
const nodeSocket = "node.sock"

// NodeSocket is the path of the socket of a node that this user runs.
func NodeSocket(dataDir string) string { return filepath.Join(RunPath(dataDir), nodeSocket) }

// FindNodeSocket is the path of the socket of a node that this user runs or the owner of
// the data folder: root's commands find a node of a normal user.
func FindNodeSocket(dataDir string) string {
	if info, err := os.Stat(dataDir); err == nil {
		theirs := filepath.Join(runPath(dataDir, ownerOf(info)), nodeSocket)
		if _, err := os.Lstat(NodeSocket(dataDir)); errors.Is(err, fs.ErrNotExist) {
			return theirs
		}
	}
	return NodeSocket(dataDir)
}

// RunDir makes and returns the folder of RunPath, and proves that it is ours.
func RunDir(dataDir string) (string, error) {
	dir := RunPath(dataDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", unusable("make run folder", dir, err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", unusable("make run folder", dir, err)
	}
	if !info.IsDir() || !ownedByUs(info) {
		return "", &picloud.Error{
			Code: picloud.CodeInvalid, Op: "use run folder", Resource: dir, Detail: "it belongs to somebody else",
			Hint: "remove it, or choose a shorter data folder with PICLOUD_DATA",
		}
	}
	return dir, nil
}

// ownedByUs guards folders below /tmp, which anybody may have made first.
func ownedByUs(info fs.FileInfo) bool {
	return ownerOf(info) == os.Geteuid() && info.Mode().Perm()&0o022 == 0
}
