package mdns

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/picloud/picloud"
	svc "github.com/picloud/picloud/internal/service"
)

const (
	refresh       = time.Minute     // between looks at the interfaces
	secondTime    = time.Second     // after which an announcement is repeated, once
	repliesPerSec = 20              // of an announcer, to all who ask
	replyBurst    = 40              // at once
	groupPause    = time.Second / 2 // between two answers to the group on one interface
)

// Options say what to announce.
type Options struct {
	// Name is the name of the node. Its host name is made of it: pi-1 is pi-1.local.
	Name string
	// Cluster is the name of the cluster, for people; at most 200 bytes count.
	Cluster string
	// Port is the cluster port.
	Port int
	// Logger hears what does not work. Nil: the default logger.
	Logger *slog.Logger
}

// Announcer answers those who look for this node on the local network.
type Announcer struct {
	records records
	log     *slog.Logger
	link    *link

	sockets *sockets
	task    *svc.Task

	joined   map[int]string // the interfaces that are listened on, and their addresses
	tokens   float64        // replies that may be sent now
	refilled time.Time
	grouped  map[int]time.Time // when the group was answered last, by interface
}

// New prepares an announcer. It opens nothing before Start.
func New(o Options) (*Announcer, error) {
	label := hostLabel(o.Name)
	if label == "" || o.Port < 1 || o.Port > 65535 {
		return nil, fmt.Errorf("announce node %q with port %d: a name with a letter or digit and a port are needed", picloud.Shorten(o.Name, 80), o.Port)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	cluster := printable(o.Cluster)
	if len(cluster) > 200 {
		cluster = strings.ToValidUTF8(cluster[:200], "")
	}
	return &Announcer{
		records: records{
			host: dnsmessage.MustNewName(label + domain), instance: dnsmessage.MustNewName(label + "." + service),
			port: uint16(o.Port), txt: []string{"cluster=" + cluster},
		},
		log: o.Logger, link: network, joined: map[int]string{}, grouped: map[int]time.Time{}, tokens: replyBurst,
	}, nil
}

// Start listens and announces the node. It fails when port 5353 cannot be shared.
func (a *Announcer) Start() error {
	interfaces, err := a.link.interfaces()
	if err != nil {
		return fmt.Errorf("announce this node: %w", err)
	}
	if len(interfaces) == 0 {
		return fmt.Errorf("announce this node: %w", errNoInterface)
	}
	a.sockets = &sockets{}
	var failed error
	for _, six := range []bool{false, true} {
		family, group := "udp4", group4
		if six {
			family, group = "udp6", group6
		}
		// The first interface only makes the port a shared one; look joins them all.
		conn, err := net.ListenMulticastUDP(family, &interfaces[0], &net.UDPAddr{IP: group.AsSlice(), Port: a.link.port})
		if err != nil {
			failed = err
			continue
		}
		a.sockets.list = append(a.sockets.list, newSocket(conn, six, a.link.port))
	}
	if len(a.sockets.list) == 0 {
		return fmt.Errorf("announce this node on UDP port %d: %w; another program holds the port for itself", a.link.port, failed)
	}
	a.look()
	a.task = svc.Go(context.Background(), a.run)
	return nil
}

// Stop says goodbye and closes the sockets.
func (a *Announcer) Stop() {
	if a.task == nil {
		return
	}
	a.task.Stop()
	a.announce(0)
	a.sockets.close()
	a.task = nil
}

func (a *Announcer) run(ctx context.Context) {
	heard := make(chan heardPacket)
	a.sockets.read(ctx, heard)
	a.announce(lasting)
	next := time.NewTimer(secondTime)
	defer next.Stop()
	again := true
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
			if again || a.look() {
				a.announce(lasting)
			}
			again = false
			next.Reset(refresh)
		case p := <-heard:
			a.answer(p)
		}
	}
}

// look joins the group on interfaces that came up, and reports whether anything
// changed.
func (a *Announcer) look() bool {
	interfaces, err := a.link.interfaces()
	if err != nil {
		a.log.Debug("list the network interfaces", slog.Any("error", err))
		return false
	}
	now := map[int]string{}
	changed := false
	for _, i := range interfaces {
		now[i.Index] = fmt.Sprint(prefixes(&i))
		before, known := a.joined[i.Index]
		changed = changed || !known || before != now[i.Index]
		if !known {
			for _, one := range a.sockets.list {
				_ = one.join(&i) // it has joined the first one already, and some have one family alone
			}
		}
	}
	a.joined, a.sockets.interfaces = now, interfaces
	return changed
}

// announce tells everybody without being asked. A ttl of 0 says goodbye.
func (a *Announcer) announce(ttl uint32) {
	for _, i := range a.sockets.interfaces {
		packet, err := a.records.pack(reply{ttl: ttl, wanted: everything, addresses: prefixes(&i)})
		if err != nil {
			a.log.Warn("announce this node on the local network", slog.Any("error", err))
			return
		}
		for _, one := range a.sockets.list {
			_ = one.send(packet, &i) // an interface without this family, or that went down
		}
	}
}

// answer replies to a packet if it asks for this node.
func (a *Announcer) answer(p heardPacket) {
	asked, ok := readQuestions(p.bytes)
	if !ok || !neighbour(p.from.Addr()) {
		return
	}
	r := reply{ttl: lasting}
	for _, q := range asked.questions {
		r.wanted |= a.records.wants(q)
		r.unicast = r.unicast || q.Class&topBit != 0
	}
	if r.wanted == 0 || !a.mayReply() {
		return
	}
	i := slices.IndexFunc(a.sockets.interfaces, func(i net.Interface) bool { return i.Index == p.index })
	if i < 0 {
		return // not one of ours, or the system does not tell which
	}
	r.addresses = prefixes(&a.sockets.interfaces[i])
	if legacy := int(p.from.Port()) != a.link.port; legacy {
		r.ttl, r.id, r.questions, r.unicast = lastingLegacy, asked.id, asked.questions, true
	}
	packet, err := a.records.pack(r)
	if err != nil {
		return // the question does not fit into an answer
	}
	if r.unicast {
		_, _ = p.on.conn.WriteToUDPAddrPort(packet, p.from)
		return
	}
	if now := time.Now(); now.Sub(a.grouped[p.index]) > groupPause {
		a.grouped[p.index] = now
		_ = p.on.send(packet, &a.sockets.interfaces[i])
	}
}

// mayReply takes one of the replies that may be sent now.
func (a *Announcer) mayReply() bool {
	now := time.Now()
	if !a.refilled.IsZero() {
		a.tokens = min(a.tokens+now.Sub(a.refilled).Seconds()*repliesPerSec, replyBurst)
	}
	a.refilled = now
	if a.tokens < 1 {
		return false
	}
	a.tokens--
	return true
}

// Which records are wanted.
const (
	wantHost     = 1 << iota // A and AAAA
	wantPointer              // the node is one of the service
	wantServices             // the service exists
	wantInstance             // SRV and TXT

	everything = wantHost | wantPointer | wantInstance
)

// records are what a node says.
type records struct {
	host, instance dnsmessage.Name
	port           uint16
	txt            []string
}

// wants says which records a question asks for.
func (r *records) wants(q dnsmessage.Question) int {
	if q.Class&^topBit != dnsmessage.ClassINET && q.Class&^topBit != dnsmessage.ClassANY {
		return 0
	}
	is := func(types ...dnsmessage.Type) bool {
		return q.Type == dnsmessage.TypeALL || slices.Contains(types, q.Type)
	}
	switch name := strings.ToLower(q.Name.String()); {
	case name == r.host.String() && is(dnsmessage.TypeA, dnsmessage.TypeAAAA):
		return wantHost
	case name == service && is(dnsmessage.TypePTR):
		return everything
	case name == services && is(dnsmessage.TypePTR):
		return wantServices
	case name == r.instance.String() && is(dnsmessage.TypeSRV, dnsmessage.TypeTXT):
		return wantInstance | wantHost
	}
	return 0
}

// reply is how to answer.
type reply struct {
	id        uint16
	questions []dnsmessage.Question // repeated for those that ask from a port of their own
	unicast   bool
	ttl       uint32
	wanted    int
	addresses []netip.Prefix
}

func (r *records) pack(how reply) ([]byte, error) {
	header := func(name dnsmessage.Name, unique bool) dnsmessage.ResourceHeader {
		h := dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: how.ttl}
		if unique && how.questions == nil {
			h.Class |= topBit
		}
		return h
	}
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: how.id, Response: true, Authoritative: true}, Questions: how.questions}
	add := func(name dnsmessage.Name, unique bool, body dnsmessage.ResourceBody) {
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: header(name, unique), Body: body})
	}
	if how.wanted&wantServices != 0 {
		add(dnsmessage.MustNewName(services), false, &dnsmessage.PTRResource{PTR: dnsmessage.MustNewName(service)})
	}
	if how.wanted&wantPointer != 0 {
		add(dnsmessage.MustNewName(service), false, &dnsmessage.PTRResource{PTR: r.instance})
	}
	if how.wanted&wantInstance != 0 {
		add(r.instance, true, &dnsmessage.SRVResource{Target: r.host, Port: r.port})
		add(r.instance, true, &dnsmessage.TXTResource{TXT: r.txt})
	}
	if how.wanted&wantHost != 0 {
		for _, p := range how.addresses {
			if p.Addr().Is4() {
				add(r.host, true, &dnsmessage.AResource{A: p.Addr().As4()})
			} else {
				add(r.host, true, &dnsmessage.AAAAResource{AAAA: p.Addr().As16()})
			}
		}
	}
	return m.Pack()
}

// asked is a message that asks.
type asked struct {
	id        uint16
	questions []dnsmessage.Question
}

// readQuestions reads a message that asks something, at most maxQuestions.
func readQuestions(b []byte) (asked, bool) {
	var p dnsmessage.Parser
	header, err := p.Start(b)
	if err != nil || header.Response || header.OpCode != 0 || header.RCode != dnsmessage.RCodeSuccess {
		return asked{}, false
	}
	found := asked{id: header.ID}
	for len(found.questions) < maxQuestions {
		q, err := p.Question()
		if err != nil {
			break
		}
		found.questions = append(found.questions, q)
	}
	return found, len(found.questions) > 0
}
