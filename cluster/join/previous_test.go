package join

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/previous"
)

// framed reads a message as it comes from another node.
func framed[T any](raw []byte) (message T, err error) {
	raw = bytes.TrimSpace(raw)
	err = read(bytes.NewReader(append(binary.BigEndian.AppendUint32(nil, uint32(len(raw))), raw...)), &message)
	return message, err
}

// TestMessagesOfTheVersionBefore: a node of the version before joins through one of this, and
// the other way round.
func TestMessagesOfTheVersionBefore(t *testing.T) {
	const id, other = "6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a11", "6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a12"
	previous.JSON(t, "request.json", Request{
		Token: "PCT1.TOKEN", Node: id, Name: "pi-2", Version: "v0.1.0", Arch: "arm64", CSR: []byte("csr"),
		Advertise: "pi-2.local", ClusterPort: 7947, GossipPort: 7946,
	}, framed[Request])
	previous.JSON(t, "answer.json", reply{Answer: &Answer{
		Cluster: "0b0b5a2e-9d1c-4d6e-8f5e-0d6a4c1b2a30", Name: "home", Role: picloud.RoleServing, Address: "10.0.0.2:7947",
		Certificate: []byte("certificate"), Roots: []byte("roots"), GossipKeys: [][]byte{[]byte("first"), []byte("second")}, GossipRev: 3,
		ClusterKey: "key", Database: Database{Host: other, DSN: "postgres://db/x", Role: "picloud_n_1"},
		Members: []Member{{Node: other, Name: "pi-1", Role: picloud.RoleManager, Address: "10.0.0.1:7947", Gossip: "10.0.0.1:7946"}},
		Self:    other, Time: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC),
	}}, framed[reply])
	previous.JSON(t, "refusal.json", reply{Refusal: &refusal{
		Code: picloud.CodeForbidden, Op: "join cluster", Resource: "pi-2", Detail: "the invitation is used up", Hint: "make another one", RetryAfter: 5,
	}}, framed[reply])
}
