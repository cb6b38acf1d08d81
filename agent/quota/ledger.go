package quota

import (
	"slices"
	"time"

	"github.com/picloud/picloud"
)

const (
	// lease is how long an allotment is good after the question for it was sent.
	lease = 3 * time.Second
	// counted is how long the keeper counts it after the question came.
	counted = 4 * time.Second
	// settle is how long a keeper that is new gives nothing away: the leases of another
	// one, and a second in which nodes may not agree who it is.
	settle = counted + time.Second

	// MaxItems bounds the functions of one question, and maxAccounts those of a ledger.
	// An account of a function that the keeper knows itself is made in any case.
	MaxItems    = 1000
	maxAccounts = 20_000
	// maxCalls bounds the calls that a question may speak of: a sum of them is far from
	// the largest int. maxBoot bounds its Boot, in bytes.
	maxCalls, maxBoot = 1 << 20, 64
)

// Ask is a node's question to a keeper. It is the confirmation of what the node holds, too.
type Ask struct {
	// Boot is another one for each process of the node, and Seq grows with each question.
	Boot  string `json:"boot"`
	Seq   uint64 `json:"seq"`
	Items []Item `json:"items"`
}

// Item asks for a part of one function's limit.
type Item struct {
	App      string `json:"app"`
	Function string `json:"function"`
	Limit    int    `json:"limit"` // as the node knows it
	Holds    int    `json:"holds"` // its allotment, or the calls that run if they are more
	Wants    int    `json:"wants"` // what it could use
}

func (i Item) key() picloud.RouteKey { return picloud.RouteKey{App: i.App, Function: i.Function} }

// Answer has one share for each item, in the same order.
type Answer struct {
	Shares []Share `json:"shares"`
}

// Share is what a node may run of a function from now on.
type Share struct {
	Granted int `json:"granted"`
	// Lease is for how long, in milliseconds from when the question was sent.
	Lease int64 `json:"lease"`
	// Elsewhere says that the node that was asked is not the keeper.
	Elsewhere bool `json:"elsewhere,omitempty"`
}

// ledger is what this node knows as the keeper of functions. Quota's mu guards it.
type ledger struct {
	self     string
	view     View
	began    time.Time // everything is unsettled until settle after it
	past     []pastView
	peers    map[string]peer
	accounts map[picloud.RouteKey]account
	swept    time.Time
}

// pastView is a view that ended.
type pastView struct {
	View
	end time.Time
}

// peer is the newest question of a node.
type peer struct {
	boot string
	seq  uint64
}

func newLedger(self string, view View, now time.Time) *ledger {
	return &ledger{self: self, view: view, began: now, swept: now, peers: map[string]peer{}, accounts: map[picloud.RouteKey]account{}}
}

// look takes a new view.
func (l *ledger) look(v View, now time.Time) {
	if len(l.view.Alive) < 2 && len(v.Alive) > 1 {
		// Alone, this node has asked nobody, and the others have not asked it.
		l.began = now
	}
	l.past = slices.DeleteFunc(l.past, func(p pastView) bool { return now.Sub(p.end) >= settle })
	l.past = append(l.past, pastView{l.view, now})
	l.view = v
}

// settled reports whether this node has kept a function for long enough.
func (l *ledger) settled(key picloud.RouteKey, now time.Time) bool {
	if now.Sub(l.began) < settle {
		return false
	}
	for _, p := range l.past {
		if now.Sub(p.end) < settle && p.keeper(key) != l.self {
			return false
		}
	}
	return true
}

// answer answers a node. Limit returns what this node knows of a function's limit. The
// answer is empty if the node has asked something newer.
func (l *ledger) answer(node string, q Ask, limit func(picloud.RouteKey) (int, bool), now time.Time) (out Answer) {
	if p := l.peers[node]; len(q.Boot) > maxBoot || p.boot == q.Boot && q.Seq <= p.seq {
		return out
	}
	l.peers[node] = peer{q.Boot, q.Seq}
	l.sweep(now)
	for _, item := range q.Items[:min(len(q.Items), MaxItems)] {
		out.Shares = append(out.Shares, l.share(node, item, limit, now))
	}
	return out
}

func (l *ledger) share(node string, item Item, limit func(picloud.RouteKey) (int, bool), now time.Time) Share {
	if !picloud.ValidName(item.App) || !picloud.ValidName(item.Function) {
		return Share{}
	}
	key := item.key()
	a := l.accounts[key]
	most, known := limit(key)
	if l.view.keeper(key) != l.self || a == nil && !known && len(l.accounts) >= maxAccounts {
		return Share{Elsewhere: true}
	}
	if !known {
		most = item.Limit // this node has not heard of the function yet
	}
	most = min(max(most, 1), maxCalls)
	holds, wants := min(max(item.Holds, 0), maxCalls), min(max(item.Wants, 0), most)
	if a == nil {
		a = account{}
		l.accounts[key] = a
	}
	if holds == 0 && wants == 0 {
		if delete(a, node); len(a) == 0 {
			delete(l.accounts, key)
		}
		return Share{}
	}
	a.expire(now)
	h := a[node]
	if h == nil {
		h = &held{change: now}
		a[node] = h
	}
	h.wants, h.until = wants, now.Add(counted)
	h.hold(holds, now)
	granted := min(holds, most)
	if l.settled(key, now) {
		granted = a.share(h, most, now)
	}
	h.hold(max(granted, holds), now)
	return Share{Granted: granted, Lease: lease.Milliseconds()}
}

// sweep forgets functions that nobody uses, and nodes that are gone.
func (l *ledger) sweep(now time.Time) {
	if now.Sub(l.swept) < time.Minute {
		return
	}
	l.swept = now
	for key, a := range l.accounts {
		a.expire(now)
		if len(a) == 0 {
			delete(l.accounts, key)
		}
	}
	alive := map[string]bool{}
	for _, node := range l.view.Members {
		alive[node] = true
	}
	for node := range l.peers {
		if !alive[node] {
			delete(l.peers, node)
		}
	}
}
