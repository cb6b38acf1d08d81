package people

import (
	"errors"
	"net"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/cli/failure"
	"github.com/picloud/picloud/internal/datadir"
	"github.com/picloud/picloud/internal/local"
)

// replaceTokenHere replaces the token of a user through the socket of the node that
// runs on this machine.
func (c commands) replaceTokenHere(cmd *cobra.Command, user, save string) error {
	if err := picloud.CheckName("user", user); err != nil {
		return err
	}
	folders, refused := c.Target.DataFolders()
	hint := "start the node with: " + failure.StartNode() + "; PICLOUD_DATA names its data folder, if it is another one"
	var looked []string
	for _, err := range refused {
		looked = append(looked, strangers(err))
	}
	for _, folder := range folders {
		if absolute, err := filepath.Abs(folder); err == nil {
			folder = absolute // as the node knows it
		}
		made, err := local.ReplaceToken(cmd.Context(), folder, user)
		away, denied, foreign := (*local.Away)(nil), (*local.Denied)(nil), (*datadir.Foreign)(nil)
		switch {
		case err == nil:
			return c.handOverLocal(cmd, folder, user, made, save)
		case errors.As(err, &away):
			looked = append(looked, folder+": no node runs there")
		case errors.As(err, &denied):
			looked = append(looked, folder+": permission denied")
			hint = "run this as the node's user, or with sudo"
		case errors.As(err, &foreign):
			looked = append(looked, strangers(err))
		default:
			return failure.Explain(err, "replace token of", user)
		}
	}
	return &picloud.Error{
		Code: picloud.CodeInvalid, Op: "replace token of", Resource: user,
		Detail: "no node of this machine can be asked:\n    " + strings.Join(looked, "\n    "),
		Hint:   hint,
	}
}

// strangers is the line about something that belongs to a stranger.
func strangers(err error) string {
	foreign := (*datadir.Foreign)(nil)
	if !errors.As(err, &foreign) {
		return err.Error()
	}
	return foreign.Path + ": " + foreign.Detail()
}

// handOverLocal prints or saves the token that the node of a data folder has made. The
// node wrote its own file; the logins of this user that held the old token get the new
// one here.
func (c commands) handOverLocal(cmd *cobra.Command, folder, user string, made local.NewToken, save string) error {
	out := token{Token: made.Token, name: user, event: "the old token of " + user + " has ended"}
	if made.Saved != "" {
		out.Renewed = []string{made.Saved}
	}
	renewed, problem := c.renewLoginsHere(cmd, folder, user, made.Token)
	if renewed {
		out.Renewed = append(out.Renewed, c.Target.ConfigPath())
	}
	err := c.handOver(out, save)
	if problem != nil {
		c.Warnf("save token in %s: %v; it still holds the old one", c.Target.ConfigPath(), problem)
	}
	if c.Target.Getenv("SUDO_UID") != "" {
		c.Notef("if picloud login has saved the old token for the user who called sudo, that user signs in again with: picloud login")
	}
	return err
}

// renewLoginsHere gives the logins of a user at the node of a data folder the new token.
func (c commands) renewLoginsHere(cmd *cobra.Command, folder, user, token string) (renewed bool, err error) {
	node, err := local.Look(cmd.Context(), folder)
	if err != nil || node.ControlURL == "" {
		return false, nil //nolint:nilerr // the node has just answered; the logins stay as they are
	}
	servers := []string{node.ControlURL}
	if u, err := url.Parse(node.ControlURL); err == nil && node.Node != "" {
		u.Host = net.JoinHostPort(node.Node+".local", u.Port())
		servers = append(servers, u.String())
	}
	return c.Target.RenewLogins(servers, user, token)
}
