package broker

import (
	"sync"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor/hostcall"
	"github.com/picloud/picloud/internal/egress"
)

// maxTrialRequests is how many outgoing requests of a trial are listed.
const maxTrialRequests = 100

// Trial is one run of a script that must leave nothing behind: a draft. Its writes stay
// in an overlay, and its outgoing requests are made only with net.
type Trial struct {
	broker *Broker
	net    bool

	mu       sync.Mutex
	keys     *overlay // nil: no key was asked for
	requests []picloud.OutboundRequest
	more     int // requests that are not listed
}

// Trial returns the grants of a function for one run, and what is to be known of the
// run. The caller ends it.
func (b *Broker) Trial(function string, settings picloud.Settings, app picloud.AppConfig, net bool) (*Grants, *Trial) {
	g := b.Grants(function, settings, app)
	g.trial = &Trial{broker: b, net: net}
	return g, g.trial
}

// over returns the overlay over the app's store.
func (t *Trial) over(under Store) Store {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.keys == nil {
		t.keys = &overlay{under: under, memory: t.broker.memory, entries: map[string]*written{}}
	}
	return t.keys
}

// sends notes a request, and refuses it without net.
func (t *Trial) sends(policy *egress.Policy, r egress.Request) error {
	if err := t.broker.egress.Check(policy, r); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	method := r.Method
	if method == "" {
		method = "GET"
	}
	if len(t.requests) < maxTrialRequests {
		t.requests = append(t.requests, picloud.OutboundRequest{Method: picloud.Shorten(method, 40), URL: picloud.Shorten(r.URL, 2000), Sent: t.net})
	} else {
		t.more++
	}
	if t.net {
		return nil
	}
	return hostcall.Errorf(hostcall.CodeNotSent, "%s %s was not sent: a test run makes outgoing requests only with `picloud test --net`",
		picloud.Shorten(method, 40), picloud.Shorten(r.URL, 200))
}

// End returns what the run would have done, and the memory that it took. The run is over.
func (t *Trial) End() picloud.Effects {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := picloud.Effects{Requests: t.requests, MoreRequests: t.more}
	if t.keys != nil {
		e.Writes = t.keys.writes()
		t.keys.end()
	}
	return e
}

// unlimited is the memory of a node that does not bound it.
type unlimited struct{}

func (unlimited) Take(int64) bool { return true }
func (unlimited) Give(int64)      {}
