package people_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres/store"
	"github.com/picloud/picloud/internal/testdb"
)

// membersOp is one request to an app's members: a grant, a change, a removal
// or a read, on behalf of an actor.
type membersOp struct {
	kind   string // add, set, remove, get
	actor  picloud.Actor
	target string
	role   picloud.Role
}

// outcome is what a client saw: an error's code, or the role that was read.
type outcome struct {
	code picloud.Code
	role picloud.Role
}

// members is the model's state: the roles of the app's members.
type members map[string]picloud.Role

func (m members) owners() (n int) {
	for _, role := range m {
		if role == owner {
			n++
		}
	}
	return n
}

func (m members) String() string {
	var parts []string
	for name, role := range m {
		parts = append(parts, name+"="+string(role))
	}
	sort.Strings(parts)
	return strings.Join(parts, " ")
}

// step says what one request does to the members, taken by itself.
func (m members) step(op membersOp) (outcome, members) {
	actor := m[op.actor.User]
	if op.actor.Admin {
		actor = owner
	}
	present, exists := m[op.target]
	fails := func(code picloud.Code) (outcome, members) { return outcome{code: code}, m }
	with := func(role picloud.Role) members {
		next := members{}
		maps.Copy(next, m)
		if role == "" {
			delete(next, op.target)
		} else {
			next[op.target] = role
		}
		return next
	}
	touchesOwner := present == owner || op.role == owner
	switch {
	case actor == "":
		return fails(picloud.CodeNotFound)
	case op.kind == "get" && !exists:
		return fails(picloud.CodeNotFound)
	case op.kind == "get":
		return outcome{role: present}, m
	case !actor.Includes(admin):
		return fails(picloud.CodeForbidden)
	case op.kind == "add" && op.role == owner && actor != owner:
		return fails(picloud.CodeForbidden)
	case op.kind == "add" && exists:
		return fails(picloud.CodeExists)
	case op.kind == "add":
		return outcome{}, with(op.role)
	case !exists:
		return fails(picloud.CodeNotFound)
	case touchesOwner && actor != owner:
		return fails(picloud.CodeForbidden)
	case present == owner && op.role != owner && m.owners() == 1:
		return fails(picloud.CodeLastOwner)
	}
	return outcome{}, with(op.role)
}

func membersModel(initial members) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return initial },
		Step: func(state, input, output any) (bool, any) {
			want, next := state.(members).step(input.(membersOp))
			return want == output.(outcome), next
		},
		Equal: func(a, b any) bool { return a.(members).String() == b.(members).String() },
		DescribeOperation: func(input, output any) string {
			op := input.(membersOp)
			return fmt.Sprintf("%s: %s %s %s → %v", op.actor.User, op.kind, op.target, op.role, output)
		},
		DescribeState: func(state any) string { return state.(members).String() },
	}
}

func perform(ctx context.Context, db *store.DB, app string, op membersOp) outcome {
	var err error
	var got picloud.Member
	switch op.kind {
	case "add":
		_, err = db.Members().Add(ctx, op.actor, app, op.target, op.role)
	case "set":
		_, err = db.Members().SetRole(ctx, op.actor, app, op.target, op.role)
	case "remove":
		err = db.Members().Remove(ctx, op.actor, app, op.target)
	case "get":
		got, err = db.Members().Get(ctx, op.actor, app, op.target)
	}
	if err != nil {
		return outcome{code: picloud.CodeOf(err)}
	}
	return outcome{role: got.Role}
}

// Random histories of concurrent clients, among them owners who turn on each
// other, can be put in an order in which each request does what it does alone.
func TestMembersAreLinearizable(t *testing.T) {
	db := testdb.Wide(t)
	actors := []picloud.Actor{root}
	names := []string{"ada", "bob", "cy", "dot"}
	for _, name := range names {
		actors = append(actors, testdb.User(t, db, name))
	}
	kinds := []string{"add", "set", "set", "remove", "get"}
	for history := range 60 {
		name := fmt.Sprintf("app-%d", history)
		testdb.App(t, db, name)
		for _, first := range names[:2] {
			_, err := db.Members().Add(t.Context(), root, name, first, owner)
			require.NoError(t, err)
		}
		testdb.Leave(t, db, name)
		var mu sync.Mutex
		var events []porcupine.Operation
		var wg sync.WaitGroup
		for client := range 6 {
			rng := rand.New(rand.NewPCG(uint64(history), uint64(client)))
			wg.Go(func() {
				for range 8 {
					op := membersOp{kind: kinds[rng.IntN(len(kinds))], actor: actors[rng.IntN(len(actors))], target: names[rng.IntN(len(names))]}
					if op.kind == "add" || op.kind == "set" {
						op.role = picloud.Roles[rng.IntN(4)]
						if rng.IntN(2) == 0 {
							op.role = owner
						}
					}
					call := time.Now().UnixNano()
					out := perform(t.Context(), db, name, op)
					event := porcupine.Operation{ClientId: client, Input: op, Output: out, Call: call, Return: time.Now().UnixNano()}
					mu.Lock()
					events = append(events, event)
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		model := membersModel(members{"ada": owner, "bob": owner})
		result := porcupine.CheckOperationsTimeout(model, events, 20*time.Second)
		require.Equal(t, porcupine.Ok, result, "history %d", history)
	}
}

// The model itself refuses what must not happen.
func TestTheMembersModelSeesALostOwner(t *testing.T) {
	both := members{"ada": owner, "bob": owner}
	ada, bob := picloud.Actor{User: "ada"}, picloud.Actor{User: "bob"}
	model := membersModel(both)
	history := []porcupine.Operation{
		{ClientId: 0, Input: membersOp{"remove", ada, "bob", ""}, Output: outcome{}, Call: 0, Return: 10},
		{ClientId: 1, Input: membersOp{"remove", bob, "ada", ""}, Output: outcome{}, Call: 0, Return: 10},
	}
	require.False(t, porcupine.CheckOperations(model, history))
	history[1].Output = outcome{code: picloud.CodeNotFound}
	require.True(t, porcupine.CheckOperations(model, history))
}
