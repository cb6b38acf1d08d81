package agent

import (
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/cluster/join"
	"github.com/picloud/picloud/internal/previous"
	"github.com/picloud/picloud/internal/problem"
)

func plain[T any](raw []byte) (message T, err error) {
	err = json.Unmarshal(raw, &message)
	return message, err
}

// TestQuestionsOfTheVersionBefore: what nodes ask one another and answer, beside the control
// API, whose contract is in openapi.yaml.
func TestQuestionsOfTheVersionBefore(t *testing.T) {
	previous.JSON(t, "admission.json", admission{
		Request: join.Request{Token: "PCT1.TOKEN", Node: "id", Name: "pi-2", Version: "v0.1.0", Arch: "arm64", CSR: []byte("csr"), ClusterPort: 7947, GossipPort: 7946},
		From:    netip.MustParseAddr("10.0.0.2"),
	}, plain[admission])
	previous.JSON(t, "renewal.json", renewal{CSR: []byte("csr")}, plain[renewal])
	previous.JSON(t, "renewed.json", renewed{Certificate: []byte("certificate"), Roots: []byte("roots")}, plain[renewed])
	previous.JSON(t, "load.json", nodeLoad{Running: 3}, plain[nodeLoad])
	previous.JSON(t, "problem.json", problem.Problem{
		Type: "/problems/forbidden", Title: "Forbidden", Status: 403, Code: picloud.CodeForbidden, Detail: "this node serves functions only", Hint: "ask another one",
	}, plain[problem.Problem])
}
