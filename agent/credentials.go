package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/credentials"
	"github.com/picloud/picloud/internal/datadir"
	"github.com/picloud/picloud/manager"
)

// FirstUser is the cluster admin that the first start creates.
const FirstUser = "admin"

// firstUsers creates the first user, if there is none at all.
type firstUsers interface {
	Bootstrap(ctx context.Context, name string, tokenHash []byte) (created bool, err error)
	ByToken(ctx context.Context, tokenHash []byte) (picloud.User, error)
}

// bootstrap makes the first user of an empty database and leaves the token in
// the data folder. The token is on disk before the database knows its digest,
// so that a crash in between loses nothing: the next start offers the same one.
// urls are where this node is reached; its user and token are not looked at.
// created says that a token was saved for the first time, at path.
func bootstrap(ctx context.Context, users firstUsers, dataDir string, urls credentials.File) (path string, created bool, err error) {
	path = credentials.Path(dataDir)
	creds, err := readCredentials(path)
	if err == nil {
		if _, err := users.Bootstrap(ctx, creds.User, manager.HashToken(creds.Token)); err != nil {
			return path, false, err
		}
		if creds.Server == urls.Server && creds.Functions == urls.Functions {
			return path, false, nil
		}
		creds.Server, creds.Functions = urls.Server, urls.Functions // a port has changed since
		return path, false, credentials.Write(path, creds)
	}
	pending := path + ".new"
	if creds, err = readCredentials(pending); errors.Is(err, fs.ErrNotExist) {
		token, _ := manager.NewToken()
		creds = credentials.File{Server: urls.Server, Functions: urls.Functions, User: FirstUser, Token: token}
		err = credentials.Write(pending, creds)
	}
	if err != nil {
		return path, false, fmt.Errorf("prepare first-run credentials: %w", err)
	}
	created, err = users.Bootstrap(ctx, creds.User, manager.HashToken(creds.Token))
	if err != nil {
		return path, false, err // the pending file stays: the commit's answer may have been lost
	}
	if !created {
		// Either an earlier start committed and crashed before the rename, or
		// another node made the first user.
		if _, err = users.ByToken(ctx, manager.HashToken(creds.Token)); errors.Is(err, picloud.ErrNotFound) || errors.Is(err, picloud.ErrUnauthenticated) {
			return path, false, os.Remove(pending)
		} else if err != nil {
			return path, false, err
		}
	}
	if err := os.Rename(pending, path); err != nil {
		return path, false, err
	}
	return path, true, datadir.SyncDir(dataDir)
}

// NewLocalToken replaces the API token of a user on behalf of whoever owns this machine:
// the caller has come through the node's own socket, which only those can open who can
// read the cluster's key too. saved is the path of the data folder's credentials if they
// got the new token, see takesToken.
func (a *Agent) NewLocalToken(ctx context.Context, user string) (token, saved string, err error) {
	const op = "replace token of"
	control := a.control.Load()
	if control == nil {
		return "", "", a.Unready()
	}
	if err := control.database.closed(); err != nil {
		return "", "", err
	}
	token, hash := manager.NewToken()
	err = control.database.Users().SetOwnToken(ctx, user, hash)
	if errors.Is(err, picloud.ErrNotFound) {
		return "", "", &picloud.Error{Code: picloud.CodeNotFound, Op: op, Resource: user, Detail: "there is no such user", Hint: a.adminsHint(ctx, control.database)}
	}
	if err != nil {
		return "", "", err
	}
	a.log.Warn("API token replaced through the socket of this node", slog.String("user", user))
	path := credentials.Path(a.opts.DataDir)
	if !a.takesToken(ctx, control.database, path, user) {
		return token, "", nil
	}
	err = credentials.Write(path, credentials.File{Server: a.opts.ControlURL(), Functions: a.opts.FunctionsURL(), User: user, Token: token})
	if err != nil {
		a.log.Warn("new API token is not saved", slog.String("user", user), slog.Any("error", err))
		return token, "", nil
	}
	return token, path, nil
}

// takesToken reports whether the node's credentials are to get the new token of a user:
// they are that user's, or they are of no use and the user is an admin.
func (a *Agent) takesToken(ctx context.Context, db *database, path, user string) bool {
	held, err := readCredentials(path)
	if err == nil && held.User == user {
		return true
	}
	if err == nil {
		_, err = db.Users().ByToken(ctx, manager.HashToken(held.Token))
	}
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, picloud.ErrNotFound) {
		return false
	}
	u, err := db.Users().Get(ctx, picloud.Actor{User: user}, user)
	return err == nil && u.Admin
}

// adminsHint names the cluster admins to somebody who has asked for another user.
func (a *Agent) adminsHint(ctx context.Context, db *database) string {
	names, err := db.Users().Admins(ctx)
	if err != nil || len(names) == 0 {
		return "picloud user ls lists the users"
	}
	return "the cluster admins are: " + strings.Join(names, ", ")
}

// readCredentials reads a credentials file. One that a crash has torn counts as
// not there: nobody has seen its token.
func readCredentials(path string) (credentials.File, error) {
	c, _, err := credentials.Read(path)
	if errors.Is(err, credentials.ErrFormat) || errors.Is(err, credentials.ErrNoToken) {
		return credentials.File{}, fs.ErrNotExist
	}
	return c, err
}
