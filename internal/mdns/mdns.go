// Package mdns finds nodes on the local network without a server of names:
// multicast DNS (RFC 6762) and DNS-based service discovery (RFC 6763), as far as
// PiCloud needs them. Go's own resolver does not know names that end in .local
// when it is built without cgo, and it is.
//
// Asking (Lookup, Discover) sends from a port of its own, so that it needs no
// right, no daemon and no port 5353, and ends with its context. An Announcer answers
// on port 5353, which it shares with other responders such as Avahi. It does not
// probe whether a name is taken: two nodes of one name both answer, and a joiner
// compares the pin of its token in any case.
//
// What comes back is what somebody on the network says. It is bounded, it is
// accepted from neighbours only, and it proves nothing.
package mdns

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/picloud/picloud"
)

// patience is how long a question waits when its context has no nearer deadline.
const patience = 3 * time.Second

// gather is how long a lookup waits for further addresses after the first answer.
const gather = 100 * time.Millisecond

// repeats are the pauses between the times that a question is asked: packets are
// lost on wireless networks. The last one holds for all that follow.
var repeats = []time.Duration{250 * time.Millisecond, 750 * time.Millisecond, 2 * time.Second}

// What a question accepts at most, whatever is sent to it.
const (
	maxPackets   = 2048
	maxPeers     = 256
	maxAddresses = 16 // of one host
)

// Peer is a node that announces itself.
type Peer struct {
	Name      string       // of the node
	Cluster   string       // the name of its cluster, for people; may be empty
	Host      string       // NAME.local
	Port      int          // of the cluster port
	Addresses []netip.Addr // IPv4 first; may be empty
}

// IsLocal reports whether host is a name that only multicast DNS knows.
func IsLocal(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return strings.HasSuffix(host, ".local") && len(host) > len(".local")
}

// Resolve finds the addresses of any host: an address is itself, names that end in
// .local are asked for on the local network, and all others are the resolver's of
// the system.
func Resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if address, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{address}, nil
	}
	if IsLocal(host) {
		return Lookup(ctx, host)
	}
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// Lookup asks the local network for the addresses of NAME.local, for three
// seconds at most. Of several, an IPv4 address comes first.
func Lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	return network.lookup(ctx, host)
}

// Discover lists the nodes that announce themselves on the local network, by
// name. It listens until ctx ends, for three seconds at most.
func Discover(ctx context.Context) ([]Peer, error) { return network.discover(ctx) }

func (l *link) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	failed := func(detail, hint string, err error) error {
		return &picloud.Error{Code: picloud.CodeNotFound, Op: "find on the local network", Resource: picloud.Shorten(host, 80), Detail: detail, Hint: hint, Err: err}
	}
	name, err := fqdn(host)
	if err != nil || !IsLocal(host) {
		return nil, failed("it is not a name that ends in .local", "give NAME.local or an IP address", nil)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var found []netip.Addr
	first := true
	err = l.ask(ctx, hostQuestion(name), func(a *answers) bool {
		found = a.hosts[name]
		if len(found) > 0 && first { // others may know further addresses
			first = false
			time.AfterFunc(gather, cancel)
		}
		return len(found) < maxAddresses
	})
	if len(found) > 0 {
		return found, nil
	}
	if err != nil {
		return nil, failed("", "give the IP address instead", err)
	}
	return nil, failed("nobody answers to that name", "see that the node runs, is on the same network and has this name; or give its IP address instead", nil)
}

func (l *link) discover(ctx context.Context) ([]Peer, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var last *answers
	err := l.ask(ctx, serviceQuestion(), func(a *answers) bool {
		last = a
		return true
	})
	if last != nil {
		return last.peers(), nil
	}
	if err != nil {
		return nil, &picloud.Error{Code: picloud.CodeNotFound, Op: "look for nodes on the local network", Hint: "see that this machine has a network", Err: err}
	}
	return nil, nil
}

// ask sends question until ctx ends, or more returns false. After each packet that
// holds an answer, more is called with all that was heard.
func (l *link) ask(ctx context.Context, question question, more func(*answers) bool) error {
	id := newID()
	packet, err := question.pack(id)
	if err != nil {
		return err
	}
	group, err := l.open()
	if err != nil {
		return err
	}
	// Closing the sockets ends the readers.
	heard := make(chan heardPacket)
	ctx, cancel := context.WithCancel(ctx)
	defer group.close()
	defer cancel()
	group.read(ctx, heard)
	if err := group.sendAll(packet); err != nil {
		return err
	}
	all := &answers{}
	repeat := time.NewTimer(repeats[0])
	defer repeat.Stop()
	for asked, packets := 1, 0; packets < maxPackets; {
		select {
		case <-ctx.Done():
			return nil
		case <-repeat.C:
			_ = group.sendAll(packet) // the first one succeeded
			repeat.Reset(repeats[min(asked, len(repeats)-1)])
			asked++
		case p := <-heard:
			packets++
			if int(p.from.Port()) != l.port || !neighbour(p.from.Addr()) || !all.add(p.bytes, id, p.zone()) {
				continue
			}
			if !more(all) {
				return nil
			}
		}
	}
	return nil
}

// answers is what was heard, within bounds.
type answers struct {
	hosts     map[string][]netip.Addr // by name in lower case, with the last dot
	instances map[string]instance     // the same
}

// instance is a node that announces itself.
type instance struct {
	name    string // as it was written
	host    string
	port    uint16
	cluster string
}

// peers lists the instances that said where they are.
func (a *answers) peers() []Peer {
	var list []Peer
	for _, i := range a.instances {
		if i.host == "" || i.port == 0 {
			continue
		}
		list = append(list, Peer{Name: i.name, Cluster: i.cluster, Host: strings.TrimSuffix(i.host, "."), Port: int(i.port), Addresses: a.hosts[i.host]})
	}
	slices.SortFunc(list, func(a, b Peer) int { return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Host, b.Host)) })
	return list
}

// address adds one to those of a host: IPv4 before IPv6, global before link-local.
func (a *answers) address(host string, address netip.Addr) {
	list := a.hosts[host]
	if address.Is6() && address.IsLinkLocalUnicast() && address.Zone() == "" {
		return // it leads nowhere
	}
	if !address.IsValid() || address.IsUnspecified() || address.IsMulticast() || slices.Contains(list, address) || len(list) >= maxAddresses {
		return
	}
	if a.hosts == nil {
		a.hosts = map[string][]netip.Addr{}
	}
	if _, known := a.hosts[host]; !known && len(a.hosts) >= maxPeers {
		return
	}
	rank := func(x netip.Addr) int {
		switch {
		case x.Is4():
			return 0
		case !x.IsLinkLocalUnicast():
			return 1
		default:
			return 2
		}
	}
	list = append(slices.Clone(list), address)
	slices.SortStableFunc(list, func(x, y netip.Addr) int { return rank(x) - rank(y) })
	a.hosts[host] = list
}

// change edits an instance.
func (a *answers) change(name string, edit func(*instance)) {
	if a.instances == nil {
		a.instances = map[string]instance{}
	}
	key := strings.ToLower(name)
	i, known := a.instances[key]
	if !known {
		if len(a.instances) >= maxPeers {
			return
		}
		label, _, _ := strings.Cut(name, "."+service)
		i.name = printable(label)
	}
	edit(&i)
	a.instances[key] = i
}

// forget drops an instance that said goodbye.
func (a *answers) forget(name string) { delete(a.instances, strings.ToLower(name)) }

// errNoInterface says that there is nowhere to ask.
var errNoInterface = errors.New("this machine has no network interface that is up")
