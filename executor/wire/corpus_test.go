package wire

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the corpus of whole frames again")

// TestCorpus sees that the committed corpus holds a whole payload of every type
// of frame, so that the fuzzers start from frames as they are today and not as
// they once were: `go test ./executor/wire -run TestCorpus -update` renews it.
func TestCorpus(t *testing.T) {
	payloads, frames := "testdata/fuzz/FuzzDecoders", "testdata/fuzz/FuzzReader/conversation"
	all := map[Type]Payload{TypeCancel: nil, TypeUnload: nil}
	maps.Copy(all, seeds())
	var kinds []Type
	for kind := range all {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	var stream []byte
	for _, kind := range kinds {
		stream = AppendFrame(stream, kind, 5, all[kind])
		if decoders[kind] == nil {
			continue
		}
		payload := AppendFrame(nil, kind, 5, all[kind])[HeaderSize:]
		path := filepath.Join(payloads, kind.String())
		inCorpus(t, path, fmt.Sprintf("byte(%q)\n[]byte(%q)", rune(kind), payload))
		require.NoError(t, decoders[kind]().Decode(payload), kind)
	}
	inCorpus(t, frames, fmt.Sprintf("[]byte(%q)", stream))

	for kind := range Type(len(typeNames)) {
		if kind.valid() {
			require.Contains(t, all, kind, "add it to seeds")
		}
	}
}

// inCorpus compares a file of the corpus, or writes it.
func inCorpus(t *testing.T, path, values string) {
	want := "go test fuzz v1\n" + values + "\n"
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(want), 0o644))
	}
	got, err := os.ReadFile(path)
	require.NoError(t, err, "run with -update")
	require.Equal(t, want, string(got), "%s is not today's frame: run with -update", path)
}
