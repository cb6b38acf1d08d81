package cluster

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestKills kills the nodes of a cluster in turn, under load and deploys: what was
// acknowledged is there afterwards, and the survivors answer every call.
func TestKills(t *testing.T) {
	t.Parallel()
	l := begin(t, 3)
	l.nodes[0].deploy("steady", "ok")
	for round := range either(3, 200) {
		victim := l.nodes[round%3]
		others := []*node{l.nodes[(round+1)%3], l.nodes[(round+2)%3]}
		calls := underLoad("steady", others...)
		var deploys sync.WaitGroup
		acknowledged, unsure := "", false
		deploys.Go(func() {
			for i := range 10 {
				text := fmt.Sprintf("%d-%d", round, i)
				switch status, _ := others[i%2].put("f", returning(text)); status {
				case http.StatusOK, http.StatusCreated, http.StatusAccepted:
					acknowledged, unsure = text, false
				default:
					unsure = true // the commit may have happened although nobody heard of it
				}
			}
		})
		pause(time.Duration(round%7) * 20 * time.Millisecond)
		if round%2 == 0 {
			victim.power()
		} else {
			victim.kill()
		}
		deploys.Wait()
		victim.start()
		l.awaitLive(30 * time.Second)
		calls.requireAll(victim)
		if acknowledged == "" || unsure {
			continue
		}
		for _, n := range l.nodes {
			n.awaitAnswer("f", acknowledged, 10*time.Second)
		}
	}
}

// TestSickDatabase stops the database's processes without an end, and fills the disk of a
// node: functions answer, changes are refused, and all is well again without a restart.
func TestSickDatabase(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	one := l.add().found()
	two := l.add(one.invite()...)
	two.token = one.token
	if l.spaces {
		two.smallDisk("64m")
	}
	two.start()
	l.awaitLive(healing)
	one.deploy("steady", "ok")

	calls := underLoad("steady", one, two)
	thaw := one.freezeDatabase()
	pause(either(2*time.Second, 2*time.Minute))
	thaw()
	l.awaitLive(90 * time.Second)
	calls.requireAll(one)
	if !l.spaces {
		return // a small disk needs root as well
	}

	calls = underLoad("steady", one, two)
	free := two.fill()
	status, body := one.put("f", returning("while the disk of pi-2 is full"))
	require.Contains(t, []int{http.StatusOK, http.StatusCreated, http.StatusAccepted}, status, body)
	free()
	l.awaitLive(time.Minute)
	calls.requireAll(one)
	two.awaitAnswer("f", "while the disk of pi-2 is full", healing)
}
