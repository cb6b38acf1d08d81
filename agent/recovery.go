package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/agent/broker"
	"github.com/picloud/picloud/cluster/elect"
	"github.com/picloud/picloud/cluster/identity"
	"github.com/picloud/picloud/internal/datadir"
)

// recoverTime bounds a recovery: the question to the database, the new group, its election.
const recoverTime = 30 * time.Second

// Recovery is what an operator asks of a node of a cluster that has no manager.
type Recovery struct {
	// Adopt says that the elections begin anew with the terms too: the database knows later
	// ones than they can reach. Else the terms go on, and the voters are given up.
	Adopt bool
	// Force does it although other voters are alive, or a node manages.
	Force bool
	// Try only says what would be done.
	Try bool
}

// Recovered says what a recovery did, or would do.
type Recovered struct {
	Node    string   `json:"node"` // becomes the only voter
	Cluster string   `json:"cluster"`
	Lost    []string `json:"lost"`    // voters that do not answer
	Alive   []string `json:"alive"`   // voters that do, beside this node
	Manager string   `json:"manager"` // that manages now; empty: none does yet
	Epoch   int64    `json:"epoch"`
	Done    bool     `json:"done"`
}

// Recover makes this node the only voter of its cluster, because the majority of the voters
// was lost for good. The other members that are left join its group by themselves. It refuses
// while a majority is alive or a node manages, unless it is forced.
func (a *Agent) Recover(ctx context.Context, q Recovery) (out Recovered, err error) {
	op := "recover cluster"
	if q.Adopt {
		op = "adopt cluster"
	}
	refuse := func(code picloud.Code, detail, hint string) (Recovered, error) {
		return out, &picloud.Error{Code: code, Op: op, Resource: out.Cluster, Detail: detail, Hint: hint}
	}
	a.mu.Lock()
	c, d := a.cluster, a.database
	a.mu.Unlock()
	switch {
	case c == nil || d == nil:
		return refuse(picloud.CodeStarting, "the node is starting", "try again in a moment")
	case a.misplaced != nil:
		return out, a.misplaced
	case !c.Member():
		return refuse(picloud.CodeConflict, "this node is in no cluster of several: it is its own manager", "")
	}
	out = Recovered{Node: a.opts.NodeName, Cluster: c.State().Name, Lost: []string{}, Alive: []string{}}
	if err := a.outcast(); err != nil {
		return out, err
	}
	raft := a.election.taking()
	if raft == nil {
		return refuse(picloud.CodeConflict, "this node serves functions only", "run the command on a node that may manage; `picloud node ls` shows the roles")
	}
	ctx, cancel := context.WithTimeout(ctx, recoverTime)
	defer cancel()
	leadership := d.Leadership()
	if _, err := leadership.Show(ctx); err != nil {
		detail, hint := a.absence()
		return refuse(picloud.CodeDatabaseDown, "a manager is of no use without the database: "+detail, hint)
	}
	servers := raft.Status().Servers
	votes := a.count(&out, servers)
	switch manager := a.managing(); {
	case q.Force:
	case manager != "":
		return refuse(picloud.CodeConflict, manager+" manages the cluster", "nothing has to be recovered; --force does it all the same")
	case votes > 0 && 2*(votes-len(out.Lost)) > votes && !q.Adopt:
		return refuse(picloud.CodeConflict, "a majority of the voters is alive, and elects a manager by itself",
			"wait for a minute; --force does it all the same, and the others follow this node")
	}
	if q.Try {
		return out, nil
	}
	if err := a.remake(ctx, raft, q.Adopt, len(servers) > 0 && 2*(votes-len(out.Lost)) > votes); err != nil {
		return out, err
	}
	out.Done = true
	out.Manager, out.Epoch = a.awaitDuty(ctx)
	return out, nil
}

// remake begins the group anew. Alone says whether the terms begin anew and the group stays: a
// majority of it is alive.
func (a *Agent) remake(ctx context.Context, raft *elect.Raft, adopt, alive bool) error {
	leadership, id := a.database.Leadership(), a.cluster.State().Cluster
	if !adopt {
		term, err := leadership.Recover(ctx, id)
		if err != nil {
			return err
		}
		return raft.Remake(ctx, term)
	}
	if err := leadership.Adopt(ctx, id); err != nil {
		return err
	}
	if alive {
		return nil // the node that it elected, and that the database refused, asks again
	}
	return raft.Remake(ctx, 0)
}

// count takes down which voters answer, and returns how many there are.
func (a *Agent) count(out *Recovered, servers []elect.Server) (votes int) {
	for _, s := range servers {
		switch {
		case !s.Voter:
			continue
		case s.Node == a.identity.ID:
		case a.present(s.Node):
			out.Alive = append(out.Alive, a.nameOf(s.Node))
		default:
			out.Lost = append(out.Lost, a.nameOf(s.Node))
		}
		votes++
	}
	slices.Sort(out.Alive)
	slices.Sort(out.Lost)
	return votes
}

// managing is the name of the node that has the manager's duties, as far as this node hears;
// empty: none has.
func (a *Agent) managing() string {
	if a.manages() {
		return a.opts.NodeName
	}
	for _, m := range a.cluster.Members() {
		if m.Alive && m.Meta.Epoch > 0 && m.Meta.Role == string(identity.Manager) {
			return a.nameOf(m.Node)
		}
	}
	return ""
}

// present reports whether the gossip hears a node.
func (a *Agent) present(node string) bool {
	return node == a.identity.ID || a.heardOf()[node].Alive
}

// awaitDuty waits a moment for a manager, and names it.
func (a *Agent) awaitDuty(ctx context.Context) (name string, epoch int64) {
	ctx, cancel := context.WithTimeout(ctx, 5*broker.FirstWait)
	defer cancel()
	tick := time.NewTicker(leaderLook)
	defer tick.Stop()
	for {
		if name := a.managing(); name != "" {
			return name, a.election.epoch.Load()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", 0
		}
	}
}

// noteOnlyVoter writes down that a node is to have the elections of a cluster that lost the
// majority of its voters, as soon as it is the host; the term is the newest one in the database.
func noteOnlyVoter(dataDir string, term uint64) error {
	return datadir.WriteFile(onlyVoterPath(dataDir), []byte(strconv.FormatUint(term, 10)))
}

func onlyVoterPath(dataDir string) string { return filepath.Join(clusterDir(dataDir), "only-voter") }

// onlyVoter does what noteOnlyVoter has noted, after a crash at the next start. A node that is
// not the host forgets it: its restore was cut short, and the others still elect.
func (a *Agent) onlyVoter() error {
	path, node := onlyVoterPath(a.opts.DataDir), a.identity.ID
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && a.cluster.State().Database.Host == node {
		var term uint64
		if term, err = strconv.ParseUint(string(raw), 10, 64); err == nil {
			dir := filepath.Join(clusterDir(a.opts.DataDir), "raft")
			if err = os.MkdirAll(dir, 0o700); err == nil {
				err = elect.Recover(dir, node, node, term)
			}
		}
	}
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		return fmt.Errorf("make this node the only voter: %w", err)
	}
	return nil
}
