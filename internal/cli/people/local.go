package people

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/cli/failure"
	"github.com/picloud/picloud/internal/datadir"
	"github.com/picloud/picloud/manager/api/client"
)

// localTimeout bounds one request to the node of this machine.
const localTimeout = 30 * time.Second

// maxLocalAnswer bounds the node's answer, in bytes.
const maxLocalAnswer = 64 << 10

// localToken is what the node of this machine answers.
type localToken struct {
	Token string `json:"token"`
	Saved string `json:"saved"` // the credentials file that it wrote; empty: none
}

// replaceTokenHere replaces the token of a user through the socket of the node that
// runs on this machine.
func (c commands) replaceTokenHere(cmd *cobra.Command, user, save string) error {
	if err := picloud.CheckName("user", user); err != nil {
		return err
	}
	var looked []string
	hint := "start the node with: " + failure.StartNode() + "; PICLOUD_DATA names its data folder, if it is another one"
	for _, folder := range c.Target.DataFolders() {
		if absolute, err := filepath.Abs(folder); err == nil {
			folder = absolute // as the node knows it
		}
		made, err := askHere(cmd.Context(), datadir.NodeSocket(folder), user)
		switch {
		case err == nil:
			out := token{Token: made.Token, name: user, event: "the old token of " + user + " has ended"}
			if made.Saved != "" {
				out.Renewed = []string{made.Saved}
			}
			return c.handOver(out, save)
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOTDIR):
			looked = append(looked, folder+": no node runs there")
		case errors.Is(err, fs.ErrPermission):
			looked = append(looked, folder+": permission denied")
			hint = "run this as the node's user, or with sudo"
		default:
			return err
		}
	}
	return &picloud.Error{
		Code: picloud.CodeInvalid, Op: "replace token of", Resource: user,
		Detail: "no node of this machine can be asked:\n    " + strings.Join(looked, "\n    "),
		Hint:   hint,
	}
}

// askHere sends a request for a new token to the socket of a node.
func askHere(ctx context.Context, socket, user string) (made localToken, err error) {
	ctx, cancel := context.WithTimeout(ctx, localTimeout)
	defer cancel()
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: true,
	}
	body, err := json.Marshal(map[string]string{"user": user})
	if err != nil {
		return made, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://node/token", bytes.NewReader(body))
	if err != nil {
		return made, err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return made, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxLocalAnswer))
	if err != nil {
		return made, fmt.Errorf("read answer of the node: %w", err)
	}
	if resp.StatusCode != http.StatusCreated {
		var p client.Problem
		if json.Unmarshal(answer, &p) == nil && p.Code != "" {
			return made, failure.Explain(p.Err(), "replace token of", user)
		}
		return made, fmt.Errorf("replace token of %s: the node answered %s", user, resp.Status)
	}
	if err := json.Unmarshal(answer, &made); err != nil {
		return made, fmt.Errorf("read answer of the node: %w", err)
	}
	return made, nil
}
