package managed_test

import (
	"errors"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres/managed"
	"github.com/picloud/picloud/internal/testdb"
)

// refused starts a server that cannot start, and returns the error for people.
func refused(t *testing.T, o managed.Options) *picloud.Error {
	t.Helper()
	err := newServer(t, o).Start(t.Context())
	var e *picloud.Error
	require.ErrorAs(t, err, &e)
	t.Logf("%v (%s)", e, e.Hint)
	return e
}

func TestMissingBinaries(t *testing.T) {
	install := "sudo apt-get install -y postgresql"
	if runtime.GOOS == "darwin" {
		install = "brew install postgresql"
	}
	empty := t.TempDir()
	e := refused(t, managed.Options{DataDir: testdb.Dir(t), BinDir: empty})
	require.Equal(t, picloud.CodeDatabaseDown, e.Code)
	require.Contains(t, e.Hint, install)
	require.Contains(t, e.Hint, "PICLOUD_DATABASE_URL")

	old := filepath.Join(testdb.Dir(t), "bin")
	write(t, filepath.Join(old, "postgres"), "#!/bin/sh\necho 'postgres (PostgreSQL) 14.2'\n")
	write(t, filepath.Join(old, "initdb"), "#!/bin/sh\n")
	e = refused(t, managed.Options{DataDir: testdb.Dir(t), BinDir: old})
	require.Contains(t, e.Detail, "found 14.2")
	require.Contains(t, e.Hint, install)
}

// TestDataThatHasToBeThere: nothing takes the place of a database that is missing.
func TestDataThatHasToBeThere(t *testing.T) {
	dir := testdb.Dir(t)
	e := refused(t, managed.Options{DataDir: dir, Existing: true})
	require.Equal(t, picloud.CodeDatabaseDown, e.Code)
	require.Contains(t, e.Hint, "picloud database restore")
	aside := filepath.Join(dir, "postgres.aside-20260102T030405Z")
	write(t, filepath.Join(aside, "PG_VERSION"), "15\n")
	require.NoError(t, os.Mkdir(filepath.Join(dir, "postgres"), 0o700))
	require.Contains(t, refused(t, managed.Options{DataDir: dir, Existing: true}).Hint, aside)
	require.NoFileExists(t, filepath.Join(dir, "postgres", "PG_VERSION"))
}

func TestDataOfAnotherVersion(t *testing.T) {
	dir := testdb.Dir(t)
	write(t, filepath.Join(dir, "postgres", "PG_VERSION"), "12\n")
	e := refused(t, managed.Options{DataDir: dir})
	require.Contains(t, e.Detail, "PostgreSQL 12")
	require.Contains(t, e.Hint, "12")
}

func TestAFolderThatHoldsSomethingElse(t *testing.T) {
	dir := testdb.Dir(t)
	write(t, filepath.Join(dir, "postgres", "holiday.jpg"), "")
	e := refused(t, managed.Options{DataDir: dir})
	require.ErrorContains(t, e, "neither empty nor a database of PostgreSQL")
	_, err := os.Stat(filepath.Join(dir, "postgres", "holiday.jpg"))
	require.NoError(t, err, "it is left alone")

	file := filepath.Join(testdb.Dir(t), "file")
	write(t, file, "")
	refused(t, managed.Options{DataDir: file})
	refused(t, managed.Options{DataDir: filepath.Join(file, "below")})
}

func TestAServerThatDoesNotComeUpShowsItsLog(t *testing.T) {
	dir := dataDir(t)
	require.NoError(t, os.Truncate(filepath.Join(dir, "postgres", "global", "pg_control"), 100))
	e := refused(t, managed.Options{DataDir: dir})
	require.Equal(t, picloud.CodeDatabaseDown, e.Code)
	require.Contains(t, e.Detail, "pg_control")
}

func TestAFolderThatTheServerCannotEnter(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root runs the server as somebody else")
	}
	top := testdb.Dir(t)
	closed := filepath.Join(top, "closed")
	require.NoError(t, os.Mkdir(closed, 0o700))
	e := refused(t, managed.Options{DataDir: filepath.Join(closed, "a", "data")})
	require.Contains(t, e.Detail, "cannot enter "+closed)
	require.NotContains(t, e.Detail, "closed/a")
	require.Contains(t, e.Hint, "PICLOUD_DATA=/var/lib/picloud")

	require.NoError(t, os.Chmod(closed, 0o711))
	start(t, newServer(t, managed.Options{DataDir: filepath.Join(closed, "a", "data")}))
}

func TestAFolderThatCannotBeWritten(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root can write everywhere; TestAsANormalUser runs this")
	}
	dir := testdb.Dir(t)
	require.NoError(t, os.Chmod(dir, 0o500))
	defer os.Chmod(dir, 0o700)
	e := refused(t, managed.Options{DataDir: dir})
	require.Contains(t, e.Hint, "PICLOUD_DATA")
	require.ErrorIs(t, e, os.ErrPermission)
}

func TestADiskThatIsFull(t *testing.T) {
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		t.Skip("needs to mount a small file system")
	}
	dir := testdb.Dir(t)
	if err := exec.Command("mount", "-t", "tmpfs", "-o", "size=12m,mode=0711", "tmpfs", dir).Run(); err != nil {
		t.Skipf("cannot mount: %v", err)
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", dir).Run() })
	e := refused(t, managed.Options{DataDir: dir})
	require.Contains(t, e.Error(), "No space left on device")
	require.Equal(t, "free some disk space", e.Hint)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, entry := range entries {
		require.False(t, strings.HasPrefix(entry.Name(), "postgres.init-"), "nothing is left that fills the disk")
	}
}

// The same life as a normal user: the tests run once more as nobody.
func TestAsANormalUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("this is it")
	}
	nobody, err := user.Lookup("nobody")
	require.NoError(t, err)
	uid, err := strconv.Atoi(nobody.Uid)
	require.NoError(t, err)
	gid, err := strconv.Atoi(nobody.Gid)
	require.NoError(t, err)
	dir := testdb.Dir(t)
	binary := filepath.Join(dir, "managed.test")
	text, err := os.ReadFile(os.Args[0])
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(binary, text, 0o755))
	temp := filepath.Join(dir, "tmp")
	require.NoError(t, os.Mkdir(temp, 0o700))
	require.NoError(t, os.Chown(temp, uid, gid))

	cmd := exec.Command(binary, "-test.run=^(TestStartStopStart|TestAdopts.*|TestAFolderThatCannotBeWritten)$", "-test.v")
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + temp, "HOME=" + temp}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, 3, strings.Count(string(out), "\n--- PASS"), "%s", out)

	// Data that is another user's is not touched, and the error says whose it is.
	foreign := filepath.Join(temp, "data")
	require.NoError(t, os.MkdirAll(filepath.Join(foreign, "postgres"), 0o700))
	require.NoError(t, os.Chown(filepath.Join(foreign, "postgres"), uid, gid))
	err = errors.Join(os.Chmod(temp, 0o711), os.Chmod(foreign, 0o711))
	require.NoError(t, err)
	s := newServer(t, managed.Options{DataDir: foreign})
	start(t, s) // root runs it as its owner
	require.Equal(t, "1", query(t, s, `SELECT '1'`))
}
