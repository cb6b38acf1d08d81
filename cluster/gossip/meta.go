package gossip

import (
	"net"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
	"github.com/hashicorp/memberlist"
)

// The longest texts of a Meta, in bytes. With them each Meta fits into the 512
// bytes that memberlist grants: the longest has 421, which a test holds.
const (
	maxName    = 64
	maxAddress = 253 + len(":65535")
	maxRole    = 16
	maxVersion = 32
	maxGroup   = 100
)

// Meta is what a node says of itself. It comes from the node alone, so that it is a
// hint: a peer that lies can give any value within the bounds of the types here.
type Meta struct {
	Name     string `cbor:"1,keyasint,omitempty"`  // for people; at most 64 bytes
	Address  string `cbor:"2,keyasint,omitempty"`  // host:port of its cluster port, or empty
	Role     string `cbor:"3,keyasint,omitempty"`  // at most 16 bytes
	Rev      int64  `cbor:"4,keyasint,omitempty"`  // revision of the catalog that it serves
	Epoch    int64  `cbor:"5,keyasint,omitempty"`  // of its leadership; 0: it does not manage
	Database bool   `cbor:"6,keyasint,omitempty"`  // it reaches the database
	Hosts    bool   `cbor:"7,keyasint,omitempty"`  // it runs the cluster's own database
	Version  string `cbor:"8,keyasint,omitempty"`  // of PiCloud; at most 32 bytes
	KeyRev   int    `cbor:"9,keyasint,omitempty"`  // revision of the gossip keys that it holds
	Group    int    `cbor:"10,keyasint,omitempty"` // what it knows of Raft's group: elect.Group
}

// metaDecoding is strict in what costs memory and lenient in fields that a newer
// version added.
var metaDecoding = func() cbor.DecMode {
	mode, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		MaxNestedLevels: 4, MaxArrayElements: 16, MaxMapPairs: 64,
	}.DecMode()
	if err != nil {
		panic(err) // the options are constants
	}
	return mode
}()

// encode returns at most 512 bytes. Texts that are too long are cut; an address
// that is not host:port, or too long, is left out, since half of one leads nowhere.
func (m Meta) encode() []byte {
	b, err := cbor.Marshal(m.tame())
	if err != nil || len(b) > memberlist.MetaMaxSize {
		return nil // no Meta within the bounds does that, and a member without one is better than none
	}
	return b
}

// decodeMeta reads what a peer said. ok is false when it cannot be read.
func decodeMeta(b []byte) (m Meta, ok bool) {
	if len(b) > memberlist.MetaMaxSize || metaDecoding.Unmarshal(b, &m) != nil {
		return Meta{}, false
	}
	return m.tame(), true
}

// tame brings every field within its bounds. Both sides do it, so that a reader
// can print each text on a terminal.
func (m Meta) tame() Meta {
	m.Name, m.Role, m.Version = cut(m.Name, maxName), cut(m.Role, maxRole), cut(m.Version, maxVersion)
	if !isHostPort(m.Address) {
		m.Address = ""
	}
	m.Rev, m.Epoch, m.KeyRev = max(m.Rev, 0), max(m.Epoch, 0), max(m.KeyRev, 0)
	m.Group = min(max(m.Group, 0), maxGroup)
	return m
}

// cut returns at most n bytes of s, between characters, without those that are
// not for reading.
func cut(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// isHostPort reports whether s is a host and a port that can be dialed.
func isHostPort(s string) bool {
	if len(s) > maxAddress {
		return false
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0 && !strings.ContainsFunc(host, func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsGraphic(r) || strings.ContainsRune(` /\@?#"'`, r)
	})
}
