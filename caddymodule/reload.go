package caddymodule

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
)

// reloadTimeout bounds a reload, the handover of connections included.
const reloadTimeout = 30 * time.Second

func reloadCommand(opts Options) *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Make the running node read its Caddyfile again",
		Long: "Make the node that runs on this data folder read its configuration again, from\n" +
			"where it read it at its start and with its own environment. No request is\n" +
			"dropped, and a configuration that does not load changes nothing.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			env := readEnvironment(opts.Getenv)
			if data != "" {
				env.values["data"] = data
			}
			env.useFoundData()
			home, err := env.home()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), reloadTimeout)
			defer cancel()
			if err := askReload(ctx, home.socket); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "configuration reloaded")
			return err
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "data folder of the node [$PICLOUD_DATA]")
	return cmd
}

// askReload asks the node behind an admin socket to reload.
func askReload(ctx context.Context, socket string) error {
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: true,
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://localhost"+reloadPath, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return &picloud.Error{
			Code: picloud.CodeInvalid, Op: "reload node behind", Resource: socket, Err: err,
			Hint: "is the node running, on this data folder and as this user? PICLOUD_DATA or --data name another folder",
		}
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return fmt.Errorf("read answer of the node: %w", err)
	}
	var problem struct{ Error string }
	if json.Unmarshal(body, &problem) != nil || problem.Error == "" {
		problem.Error = resp.Status
	}
	return &picloud.Error{
		Code: picloud.CodeInvalid, Op: "reload node", Detail: problem.Error, Hint: "the configuration that ran before stays in use",
	}
}
