package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

// soon is how long most writers wait for an answer.
const soon = 5 * time.Second

// deploying is one deploy of a writer.
type deploying struct {
	text        string
	begun, done time.Time
	answer      answer
	version     int   // of an acknowledged one
	deployment  int64 // of an acknowledged one
}

// acknowledged reports whether the cluster said that the deploy is done.
func (d deploying) acknowledged() bool { return d.answer.status/100 == 2 }

// unsure reports whether nobody knows what became of the deploy. A node says of a call that
// reached no manager that it was not sent.
func (d deploying) unsure() bool {
	return !d.acknowledged() && d.answer.header.Get(picloud.NotSentHeader) == ""
}

// writer deploys one function, a new text each time, through nodes chosen at random.
type writer struct {
	function string
	patience time.Duration // a deploy that is not answered so long is given up
	stop     chan struct{}
	done     chan struct{}

	mu    sync.Mutex
	nodes []*node
	all   []deploying
}

// write begins to deploy, without waiting for the nodes to serve it.
func write(function string, patience time.Duration, nodes ...*node) *writer {
	w := &writer{function: function, patience: patience, stop: make(chan struct{}), done: make(chan struct{}), nodes: nodes}
	go func() {
		defer close(w.done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			w.mu.Lock()
			n := w.nodes[rand.IntN(len(w.nodes))]
			w.mu.Unlock()
			d := n.publish(function, fmt.Sprint(function, "-", i), patience)
			w.mu.Lock()
			w.all = append(w.all, d)
			w.mu.Unlock()
			select {
			case <-w.stop:
				return
			case <-tick.C:
			}
		}
	}()
	return w
}

// end ends the writing, and returns all deploys.
func (w *writer) end() []deploying {
	close(w.stop)
	<-w.done
	return w.all
}

// acknowledgedSince returns the first deploy that was begun at a time or later and was
// acknowledged.
func (w *writer) acknowledgedSince(begun time.Time) (d deploying, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := len(w.all) - 1; i >= 0 && !w.all[i].begun.Before(begun); i-- {
		if w.all[i].acknowledged() {
			d, ok = w.all[i], true
		}
	}
	return d, ok
}

// served are the texts that the function may answer with: the last that was acknowledged,
// and those of which nobody knows.
func served(all []deploying) map[string]bool {
	out, last := map[string]bool{}, ""
	for _, d := range all {
		switch {
		case d.acknowledged():
			last = d.text
		case d.unsure():
			out[d.text] = true
		}
	}
	out[last] = true
	return out
}

// publish deploys a text and does not wait for the nodes to serve it.
func (n *node) publish(function, text string, patience time.Duration) deploying {
	d := deploying{text: text, begun: time.Now()}
	ctx, cancel := context.WithTimeout(n.t.Context(), patience)
	defer cancel()
	d.answer = n.send(ctx, http.MethodPut, n.control("/api/v1/apps/default/functions/"+function+"/code?create=true&deploy=true&wait=none"), returning(text))
	d.done = time.Now()
	var made struct {
		Deployment picloud.Deployment
	}
	if d.acknowledged() {
		if err := json.Unmarshal([]byte(d.answer.body), &made); err != nil {
			d.answer = answer{body: err.Error()}
		}
		d.version, d.deployment = made.Deployment.Version, made.Deployment.ID
	}
	return d
}

// requireLedger requires that the database has each acknowledged deploy of a function once,
// as it was acknowledged, in its order, and none that was refused; and that the numbers of
// versions have no gap. It returns how many were acknowledged, refused and unsure.
func (e *commonDatabase) requireLedger(function string, all []deploying) (acknowledged, refused, unsure int) {
	e.t.Helper()
	type row struct {
		version    int
		deployment int64
	}
	rows := map[string][]row{}
	count := 0
	for _, line := range e.ask(fmt.Sprintf(`SELECT convert_from(c.source, 'UTF8'), d.version, d.id FROM deployment d
		JOIN version v ON v.app = d.app AND v.function = d.function AND v.number = d.version JOIN code c ON c.digest = v.digest
		WHERE d.function = '%s' ORDER BY d.id`, function)) {
		version, err := strconv.Atoi(line[1])
		require.NoError(e.t, err)
		id, err := strconv.ParseInt(line[2], 10, 64)
		require.NoError(e.t, err)
		rows[line[0]] = append(rows[line[0]], row{version, id})
		count++
	}
	last := row{}
	for _, d := range all {
		got := rows[returning(d.text)]
		switch {
		case d.acknowledged():
			acknowledged++
			require.Equal(e.t, []row{{d.version, d.deployment}}, got, "%s was acknowledged: %s", d.text, d.answer.body)
			require.Greater(e.t, d.version, last.version, d.text)
			require.Greater(e.t, d.deployment, last.deployment, d.text)
			last = got[0]
		case d.unsure():
			unsure++
			require.LessOrEqual(e.t, len(got), 1, d.text)
		default:
			refused++
			require.Empty(e.t, got, "%s was refused: %d %s", d.text, d.answer.status, d.answer.body)
		}
	}
	require.Empty(e.t, e.ask(fmt.Sprintf(`SELECT f.versions, count(*) FROM function f JOIN version v ON v.app = f.app AND v.function = f.name
		WHERE f.name = '%s' GROUP BY f.versions HAVING count(*) <> f.versions OR max(v.number) <> f.versions`, function)), "versions have gaps")
	require.LessOrEqual(e.t, count, acknowledged+unsure)
	return acknowledged, refused, unsure
}
