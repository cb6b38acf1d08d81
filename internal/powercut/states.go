package powercut

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// State is a folder as a loss of power could have left it.
type State struct {
	Dir  string
	Done int // operations that had ended
	How  How
	Said []string // the notes before it
	Last Op       // the last operation
}

func (s State) String() string {
	return fmt.Sprintf("power cut after operation %d (%s), %s", s.Done, s.Last, s.How)
}

// Try calls check with the state after each operation: all kept, all lost, and mixed
// further ones, ten times as many of these in the long form of the suite of clusters. States
// that are the same as one before are left out. It returns how many there were.
func Try(t *testing.T, ops []Op, rules Rules, mixed int, check func(s State)) (tried int) {
	t.Helper()
	if os.Getenv("PICLOUD_TEST_CLUSTER") == "long" {
		mixed *= 10
	}
	type known struct {
		sum  [sha256.Size]byte
		said int
	}
	seen, root := map[known]bool{}, t.TempDir()
	var said []string
	for done := 0; done <= len(ops); done++ {
		var last Op
		if done > 0 {
			last = ops[done-1]
		}
		if last.Kind == Note {
			said = append(said, last.Path)
		}
		for how := range How(2 + mixed) {
			dir := filepath.Join(root, fmt.Sprintf("%d-%d", done, how))
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := Build(dir, ops, done, rules, how); err != nil {
				t.Fatal(err)
			}
			sum, err := Digest(dir)
			if err != nil {
				t.Fatal(err)
			}
			if k := (known{sum, len(said)}); !seen[k] {
				seen[k] = true
				tried++
				check(State{Dir: dir, Done: done, How: how, Said: said, Last: last})
			}
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
	return tried
}
