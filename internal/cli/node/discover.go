package node

import (
	"context"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/internal/cli/command"
	"github.com/picloud/picloud/internal/mdns"
)

// discoverTime is how long discovery listens.
const discoverTime = 3 * time.Second

// discovered is a node as discovery prints it.
type discovered struct {
	Name      string   `json:"name"`
	Cluster   string   `json:"cluster,omitempty"`
	Join      string   `json:"join"` // for --join
	Addresses []string `json:"addresses"`
}

func (c commands) discoverCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "discover",
		Short: "List the nodes that this network knows, of any cluster",
		Long: "List the nodes that announce themselves in this network by multicast DNS. A node does so from its first\n" +
			"invitation on, unless it listens on its own machine only. No API token is needed.",
		Args: command.Args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			done := c.Progress("listening for %s", discoverTime)
			ctx, cancel := context.WithTimeout(cmd.Context(), discoverTime)
			defer cancel()
			peers, err := mdns.Discover(ctx)
			done()
			if err != nil {
				return err
			}
			found := make([]discovered, 0, len(peers))
			for _, p := range peers {
				d := discovered{Name: p.Name, Cluster: p.Cluster, Join: joinAddress(net.JoinHostPort(p.Host, strconv.Itoa(p.Port))), Addresses: []string{}}
				for _, a := range p.Addresses {
					d.Addresses = append(d.Addresses, a.String())
				}
				found = append(found, d)
			}
			return c.Print(found, func() {
				if len(found) == 0 {
					c.Printf("no node announces itself in this network; a node does so from its first `picloud node invite` on\n")
					return
				}
				rows := make([][]string, 0, len(found))
				for _, d := range found {
					rows = append(rows, []string{d.Name, d.Cluster, d.Join, strings.Join(d.Addresses, ", ")})
				}
				c.Table("NAME CLUSTER JOIN ADDRESSES", rows)
			})
		},
	}
}
