package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/agent/replica"
	"github.com/picloud/picloud/cluster"
	"github.com/picloud/picloud/cluster/join"
	"github.com/picloud/picloud/cluster/port"
	"github.com/picloud/picloud/cluster/token"
	"github.com/picloud/picloud/internal/backoff"
	"github.com/picloud/picloud/internal/datadir"
	"github.com/picloud/picloud/internal/mdns"
	"github.com/picloud/picloud/internal/seal"
)

// Joined says what came of Join.
type Joined struct {
	Cluster string // the name of the cluster
	Already bool   // the node was a member before
	Took    time.Duration
}

// Join makes a node with these options a member of the cluster that Options.Join leads to,
// and returns when it is one. It goes on trying while no member can be reached, and calls
// waiting with the reason whenever that changes. A node that is a member already only says
// so, unless its certificate ran out: then it gets another one, and stays the node that it is. The caller holds the lock of the data folder; the node does not run.
func Join(ctx context.Context, opts Options, waiting func(why error)) (Joined, error) {
	begun := time.Now()
	opts, err := opts.Complete()
	if err != nil {
		return Joined{}, err
	}
	if err := datadir.Prepare(opts.DataDir); err != nil {
		return Joined{}, err
	}
	id, err := loadIdentity(opts.DataDir)
	if err != nil {
		return Joined{}, err
	}
	c, err := cluster.Open(cluster.Options{Dir: clusterDir(opts.DataDir), Node: id.ID, Name: opts.NodeName, Now: opts.now, Logger: opts.Logger})
	if err != nil {
		return Joined{}, err
	}
	if c.Member() && !c.Expired() {
		return Joined{Cluster: c.State().Name, Already: true}, nil
	}
	if !c.Member() {
		if err := mayJoin(opts); err != nil {
			return Joined{}, err
		}
	}
	t, err := token.Parse(opts.JoinToken)
	if err != nil {
		return Joined{}, err
	}
	csr, err := c.Request()
	if err != nil {
		return Joined{}, err
	}
	request := join.Request{
		Token: t.Text(), Node: id.ID, Name: opts.NodeName, Version: opts.Version, Arch: arch, CSR: csr,
		Advertise: opts.Advertise, ClusterPort: opts.ClusterPort, GossipPort: opts.GossipPort,
	}
	answer, address, err := ask(ctx, opts, t.Pin, request, waiting)
	if err != nil {
		return Joined{}, err
	}
	if was := c.State(); was.Cluster != "" && was.Cluster != answer.Cluster {
		return Joined{}, &picloud.Error{
			Code: picloud.CodeConflict, Op: "join " + opts.Join, Detail: fmt.Sprintf("this node is a member of another cluster, %q", was.Name),
			Hint: "`picloud node reset` empties its data folder, so that it can join this one",
		}
	}
	if err := enter(c, opts.DataDir, answer, address); err != nil {
		return Joined{}, err
	}
	return Joined{Cluster: answer.Name, Took: time.Since(begun)}, nil
}

// ask asks the member until it answers for good. It returns the address at which it did.
func ask(ctx context.Context, opts Options, pin token.Pin, r join.Request, waiting func(error)) (answer join.Answer, address string, err error) {
	host, number := opts.Join, strconv.Itoa(picloud.DefaultClusterPort)
	if h, p, err := net.SplitHostPort(opts.Join); err == nil {
		host, number = h, p
	}
	host = strings.Trim(host, "[]")
	said := ""
	for pause := backoff.New(backoff.First, backoff.Last); ; {
		var addresses []string
		addresses, err = resolve(ctx, host, number)
		var missed []error
		for _, address = range addresses { // some may not lead to the node from here
			reached := false
			answer, err = join.Ask(ctx, func(ctx context.Context) (net.Conn, error) {
				conn, err := port.DialToken(ctx, address, pin, time.Now)
				reached = err == nil
				return conn, err
			}, address, r)
			foreign := errors.Is(err, port.ErrNotPiCloud) // another program, at an address that is not the node's
			if reached || ctx.Err() != nil || !foreign && !errors.Is(err, picloud.ErrUnavailable) {
				break
			}
			missed = append(missed, err)
			err = errors.Join(missed...)
		}
		if err == nil || !errors.Is(err, picloud.ErrUnavailable) {
			return answer, address, err
		}
		if ctx.Err() != nil {
			return answer, address, ctx.Err()
		}
		if text := err.Error(); text != said {
			said = text
			waiting(err)
		}
		select {
		case <-time.After(pause.NextBackOff()):
		case <-ctx.Done():
			return answer, address, ctx.Err()
		}
	}
}

// maxTried bounds the addresses of one name that are tried.
const maxTried = 8

// resolve finds the addresses of a member.
func resolve(ctx context.Context, host, number string) (found []string, err error) {
	if net.ParseIP(host) != nil {
		return []string{net.JoinHostPort(host, number)}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	addresses, err := mdns.Resolve(ctx, host)
	if err != nil || len(addresses) == 0 {
		return nil, &picloud.Error{
			Code: picloud.CodeUnreached, Op: "find", Resource: host, Detail: "no address is known for this name", Err: err,
			Hint: "`picloud node discover` lists the nodes that this network knows; or use the address of the node: --join 192.168.…",
		}
	}
	for _, address := range addresses[:min(len(addresses), maxTried)] {
		found = append(found, net.JoinHostPort(address.Unmap().String(), number))
	}
	return found, nil
}

// enter writes what the member answered. The certificate comes last: a crash before it
// leaves a node that joins again with the same token.
func enter(c *cluster.Cluster, dataDir string, answer join.Answer, address string) error {
	key, ok := seal.Parse(answer.ClusterKey)
	if !ok {
		return fmt.Errorf("join: the answer of %s has no key of the cluster", address)
	}
	if held, err := seal.Load(dataDir); err == nil {
		if held.ID() != key.ID() {
			return &picloud.Error{
				Code: picloud.CodeConflict, Op: "join", Detail: "the data folder holds the key of another cluster, " + seal.Path(dataDir),
				Hint: "move that file elsewhere: it is what opens the secrets of that cluster",
			}
		}
	} else if err := key.Save(dataDir); err != nil {
		return err
	}
	// Whatever the members call themselves, this is how this node reached one of them.
	for i, m := range answer.Members {
		if m.Node == answer.Self {
			answer.Members[i].Address = address
			if _, number, err := net.SplitHostPort(m.Gossip); err == nil {
				answer.Members[i].Gossip = net.JoinHostPort(cluster.HostOf(address), number)
			}
		}
	}
	return c.Enter(cluster.State{
		Cluster: answer.Cluster, Name: answer.Name, Address: answer.Address, Database: answer.Database,
		GossipKeys: answer.GossipKeys, GossipRev: answer.GossipRev, Members: answer.Members,
	}, answer.Certificate, answer.Roots)
}

// mayJoin refuses a node that has a cluster of its own, and counts what it holds.
func mayJoin(opts Options) error {
	holds, found := holdings(opts.DataDir)
	if !found {
		return nil
	}
	return &picloud.Error{
		Code: picloud.CodeConflict, Op: "join " + opts.Join, Detail: "this node has a cluster of its own already, with " + holds,
		Hint: "`picloud node reset` deletes all of it, so that the node can join; without --join it goes on as it is",
	}
}

// holdings counts what the data folder of a node holds, for people. It reports whether the
// node had a cluster of its own.
func holdings(dataDir string) (text string, found bool) {
	functions, apps, found := replica.Kept(dataDir)
	database := ""
	if _, err := os.Stat(filepath.Join(dataDir, "postgres")); err == nil {
		found, database = true, " and a database of its own"
	}
	return fmt.Sprintf("%s in %s%s", picloud.Count(functions, "function"), picloud.Count(apps, "app"), database), found
}
