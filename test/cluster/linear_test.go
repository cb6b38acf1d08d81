package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

// The register is a function: its revision, which is its ETag, its live version, and a
// variable that only a change with If-Match sets.
type (
	content struct {
		rev     int64
		version int
		value   string
	}
	registerOp struct {
		kind  string // read, deploy, swap
		match int64  // of swap: the revision that it wants to find
		value string // of swap
	}
	registerOut struct {
		now    content // of read: what there is; of the others: what they made
		denied bool    // of swap: there was another revision
	}
)

// registerFrom is the model of a register that begins with a state.
func registerFrom(first content) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return first },
		Step: func(state, input, output any) (bool, any) {
			was, op, out := state.(content), input.(registerOp), output.(registerOut)
			switch {
			case op.kind == "read":
				return was == out.now, was
			case op.kind == "deploy":
				return out.now.rev > was.rev && out.now.version > was.version, content{out.now.rev, out.now.version, was.value}
			case out.denied:
				return was.rev != op.match, was
			}
			return was.rev == op.match && out.now.rev > was.rev && out.now.version == was.version && out.now.value == op.value, out.now
		},
	}
}

// TestRegister lets five clients deploy, read, and change one function on top of what they
// read, through different nodes. What they saw is what one register would have shown them.
// The versions that a node serves only go forward. In the long form the manager is killed in
// the middle.
func TestRegister(t *testing.T) {
	t.Parallel()
	var l *lab
	var e *commonDatabase
	var rows func(sql string) [][]string
	if long() {
		l, e = voting(t)
		rows = e.ask
	} else {
		l = begin(t, 3)
		rows = l.nodes[0].rows
	}
	l.nodes[0].deploy("register", "first")
	first, sure := l.nodes[0].register(registerOp{kind: "read"})
	require.True(t, sure)
	// The database writes every change down, for those whose answer never came.
	rows(`CREATE TABLE changed (rev bigint, version integer, value text)`)
	rows(`CREATE FUNCTION note_changed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		INSERT INTO changed VALUES (NEW.rev, NEW.live, NEW.settings->'env'->>'N'); RETURN NULL; END $$`)
	rows(`CREATE TRIGGER changed AFTER UPDATE ON function FOR EACH ROW WHEN (NEW.name = 'register') EXECUTE FUNCTION note_changed()`)

	const clients = 5
	histories, lost := make([][]porcupine.Operation, clients), make([][]porcupine.Operation, clients)
	begun := time.Now()
	var all, watching sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			n, seen := l.nodes[c%len(l.nodes)], first.now.rev
			for i := range either(40, 400) {
				op := registerOp{kind: []string{"read", "swap", "deploy", "read", "swap"}[(i+c)%5], match: seen, value: fmt.Sprintf("%d-%d", c, i)}
				o := porcupine.Operation{ClientId: c, Input: op, Call: time.Since(begun).Nanoseconds()}
				out, sure := n.register(op)
				o.Output, o.Return = out, time.Since(begun).Nanoseconds()
				switch {
				case !sure && op.kind != "read":
					lost[c] = append(lost[c], o)
				case sure:
					histories[c] = append(histories[c], o)
				}
				if sure && !out.denied {
					seen = out.now.rev
				}
				if long() {
					pause(50 * time.Millisecond)
				}
			}
		})
	}
	over := make(chan struct{})
	for _, n := range l.nodes {
		watching.Go(func() { n.watch("register", over) })
	}
	if long() {
		pause(5 * time.Second)
		victim := e.manager(l)
		victim.kill()
		victim.await("the next manager", 30*time.Second, func() bool { return e.manager(l) != victim })
		victim.start()
	}
	all.Wait()
	close(over)
	watching.Wait()

	history := slices.Concat(histories...)
	unsure := slices.Concat(lost...)
	for _, o := range unsure {
		// What was lost happened at some time until now, or never.
		op := o.Input.(registerOp)
		sql := fmt.Sprintf(`SELECT rev, version, coalesce(value, '') FROM changed WHERE value = '%s' ORDER BY rev LIMIT 1`, op.value)
		if op.kind == "deploy" {
			sql = fmt.Sprintf(`SELECT c.rev, c.version, '' FROM changed c JOIN version v ON v.function = 'register' AND v.number = c.version
				JOIN code s ON s.digest = v.digest AND s.source = convert_to('%s', 'UTF8') ORDER BY c.rev LIMIT 1`, returning(op.value))
		}
		for _, row := range rows(sql) {
			rev, err := strconv.ParseInt(row[0], 10, 64)
			require.NoError(t, err)
			version, err := strconv.Atoi(row[1])
			require.NoError(t, err)
			o.Output, o.Return = registerOut{now: content{rev, version, row[2]}}, time.Since(begun).Nanoseconds()
			history = append(history, o)
		}
	}
	require.Equal(t, porcupine.Ok, porcupine.CheckOperationsTimeout(registerFrom(first.now), history, time.Minute))
	done := map[string]int{}
	for _, o := range history {
		kind := o.Input.(registerOp).kind
		if o.Output.(registerOut).denied {
			kind = "refused swap"
		}
		done[kind]++
	}
	for _, kind := range []string{"read", "deploy", "swap", "refused swap"} {
		require.NotZero(t, done[kind], kind)
	}
	if !long() {
		require.Empty(t, unsure)
	}
	t.Logf("%d operations of %d clients are those of one register: %v; of %d nobody heard", len(history), clients, done, len(unsure))
}

// register does one operation on the function, and reports whether it is known what came of
// it. A swap that finds another revision is denied.
func (n *node) register(op registerOp) (out registerOut, sure bool) {
	url := n.control("/api/v1/apps/default/functions/register")
	ctx, cancel := context.WithTimeout(n.t.Context(), 2*soon)
	defer cancel()
	var a answer
	switch op.kind {
	case "deploy":
		d := n.publish("register", op.value, 2*soon)
		var made struct{ Deployment picloud.Deployment }
		if err := json.Unmarshal([]byte(d.answer.body), &made); !d.acknowledged() || err != nil {
			return out, false
		}
		return registerOut{now: content{rev: made.Deployment.Rev, version: made.Deployment.Version}}, true
	case "swap":
		a = n.send(ctx, http.MethodPatch, url, fmt.Sprintf(`{"settings":{"env":{"N":"%s"}}}`, op.value), "If-Match", fmt.Sprintf(`"%d"`, op.match))
	default:
		a = n.send(ctx, http.MethodGet, url, "")
	}
	var f picloud.Function
	if a.status == http.StatusPreconditionFailed {
		return registerOut{denied: true}, true
	}
	if err := json.Unmarshal([]byte(a.body), &f); a.status != http.StatusOK || err != nil {
		return out, false
	}
	return registerOut{now: content{f.Rev, f.Version, f.Settings.Env["N"]}}, true
}

// watch requires that the versions of a function that the node serves only go forward.
func (n *node) watch(function string, over <-chan struct{}) {
	last := 0
	for {
		if version, err := strconv.Atoi(strings.TrimPrefix(n.header(function, "X-PiCloud-Version"), "v")); err == nil {
			if version < last {
				n.t.Errorf("%s served v%d after v%d", n.name, version, last)
			}
			last = version
		}
		select {
		case <-over:
			if last < 2 {
				n.t.Errorf("%s served v%d, and no later version", n.name, last)
			}
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// rows asks the node's own database, as its administrator could.
func (n *node) rows(sql string) (out [][]string) {
	n.t.Helper()
	for line := range strings.Lines(n.sql(sql)) {
		out = append(out, strings.Split(strings.TrimSuffix(line, "\n"), "|"))
	}
	return out
}
