package target

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/credentials"
	"github.com/picloud/picloud/internal/datadir"
)

// newFinder returns a finder whose working folder and home are empty.
func newFinder(t *testing.T) (f *Finder, warned *[]string) {
	t.Helper()
	t.Chdir(t.TempDir())
	env := map[string]string{"HOME": t.TempDir()}
	warned = new([]string)
	return &Finder{
		Getenv:  func(name string) string { return env[name] },
		Warnf:   func(text string, args ...any) { *warned = append(*warned, fmt.Sprintf(text, args...)) },
		Service: filepath.Join(t.TempDir(), "service"),
	}, warned
}

// TestAStrangersDataFolderGivesNoToken: in a folder such as /tmp everybody can leave a
// folder named data, with a server of their own in it.
func TestAStrangersDataFolderGivesNoToken(t *testing.T) {
	f, warned := newFinder(t)
	evil := credentials.File{Server: "http://127.0.0.1:6666", User: "admin", Token: "pct_evil"}
	require.NoError(t, credentials.Write(credentials.Path("data"), evil))
	got, err := f.Find()
	require.NoError(t, err, "one's own")
	require.Equal(t, evil.Server, got.Server)

	f.owners = datadir.Owners{os.Geteuid() + 1}
	_, err = f.Find()
	require.ErrorIs(t, err, picloud.ErrUnauthenticated)
	require.ErrorContains(t, err, fmt.Sprintf("(uid %d), and not to you or root; PICLOUD_DATA=data uses it all the same", os.Geteuid()))
	folders, refused := f.DataFolders()
	require.NotContains(t, folders, "data")
	require.Len(t, refused, 1)

	require.NoError(t, credentials.Write(credentials.Path(f.Service), credentials.File{Server: "http://127.0.0.1:8081", Token: "pct_mine"}))
	got, err = f.Find()
	require.NoError(t, err)
	require.Equal(t, "pct_mine", got.Token, "only root can have made that folder")
	require.Len(t, *warned, 1)
	require.Contains(t, (*warned)[0], "data/credentials is not used: it belongs to")

	named := *f
	named.Getenv = func(name string) string { return map[string]string{"PICLOUD_DATA": "data"}[name] }
	got, err = named.Find()
	require.NoError(t, err, "the user has named it")
	require.Equal(t, evil.Token, got.Token)

	require.NoError(t, os.Remove(credentials.Path("data")))
	*warned = nil
	_, err = f.Find()
	require.NoError(t, err)
	require.Empty(t, *warned, "a folder named data that is no node's")
}

// TestAStrangersFileInOnesOwnFolder is not believed either.
func TestAStrangersFileInOnesOwnFolder(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can make files of other users")
		return
	}
	f, _ := newFinder(t)
	require.NoError(t, credentials.Write(credentials.Path("data"), credentials.File{Server: "http://127.0.0.1:6666", Token: "pct_evil"}))
	require.NoError(t, os.Chown(credentials.Path("data"), 65534, 65534))
	_, err := f.Find()
	require.ErrorIs(t, err, picloud.ErrUnauthenticated)
	require.ErrorContains(t, err, "65534")

	getenv := f.Getenv
	f.Getenv = func(name string) string {
		if name == "SUDO_UID" {
			return "65534"
		}
		return getenv(name)
	}
	_, err = f.Find()
	require.NoError(t, err, "the user who called sudo")
}

// TestNoLoginIsLost when several commands save one at once.
func TestNoLoginIsLost(t *testing.T) {
	f, _ := newFinder(t)
	var all sync.WaitGroup
	failed := make(chan error, 40)
	for i := range cap(failed) {
		all.Go(func() {
			failed <- f.ChangeLogins(func(l *Logins) error {
				l.Put(Context{fmt.Sprintf("c%d", i), credentials.File{Server: "http://127.0.0.1:8081", Token: "pct_1"}})
				return nil
			})
		})
	}
	all.Wait()
	close(failed)
	for err := range failed {
		require.NoError(t, err)
	}
	l, _, err := f.Logins()
	require.NoError(t, err)
	require.Len(t, l.Contexts, cap(failed))

	require.Error(t, f.ChangeLogins(func(l *Logins) error { l.Contexts = nil; return errors.New("no") }))
	l, _, err = f.Logins()
	require.NoError(t, err)
	require.Len(t, l.Contexts, cap(failed), "a change that fails changes nothing")
}

// TestALocalTokenReachesTheLogins of the same user at the same node, and no others.
func TestALocalTokenReachesTheLogins(t *testing.T) {
	f, _ := newFinder(t)
	servers := []string{"http://localhost:8081", "http://pi-1.local:8081"}
	renewed, err := f.RenewLogins(servers, "admin", "pct_new")
	require.NoError(t, err)
	require.False(t, renewed)
	require.NoFileExists(t, f.ConfigPath())

	login := func(name, server, user string) Context {
		return Context{name, credentials.File{Server: server, User: user, Token: "pct_old"}}
	}
	require.NoError(t, f.ChangeLogins(func(l *Logins) error {
		l.Contexts = []Context{
			login("a", "http://127.0.0.1:8081", "admin"), login("b", "http://pi-1.local:8081", "admin"),
			login("c", "http://127.0.0.1:8081", "ada"), login("d", "http://pi-2.local:8081", "admin"),
		}
		return nil
	}))
	renewed, err = f.RenewLogins(servers, "admin", "pct_new")
	require.NoError(t, err)
	require.True(t, renewed)
	l, _, err := f.Logins()
	require.NoError(t, err)
	for name, want := range map[string]string{"a": "pct_new", "b": "pct_new", "c": "pct_old", "d": "pct_old"} {
		require.Equal(t, want, l.Find(name).Token, name)
	}
}
