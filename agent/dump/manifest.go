// Package dump is what nodes keep of the cluster's database: dumps on their disks, each with
// a manifest that says what it holds, and the node that makes them in time.
//
// It knows no PostgreSQL and no network; the hall joins it with both.
package dump

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"

	"github.com/picloud/picloud"
)

const (
	// MaxSize is the largest dump that a node takes, in bytes.
	MaxSize = 8 << 30
	// maxManifest bounds a manifest, in bytes.
	maxManifest = 4 << 10
)

// Manifest says what a dump holds.
type Manifest struct {
	Cluster     string    `json:"cluster"`     // UUID
	Incarnation string    `json:"incarnation"` // of the catalog, a UUID
	Generation  int64     `json:"generation"`  // of the database: how often it was restored elsewhere
	Revision    int64     `json:"revision"`    // of the catalog
	TakenAt     time.Time `json:"taken_at"`    // by the clock of the node that made it
	By          string    `json:"by"`          // the name of that node
	Postgres    string    `json:"postgres"`    // the version of the server
	Migration   int       `json:"migration"`   // the newest one
	SHA256      string    `json:"sha256"`      // of the dump, in hexadecimal
	Size        int64     `json:"size"`        // of the dump, in bytes
}

var (
	uuid    = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	version = regexp.MustCompile(`^[0-9]{1,3}(\.[0-9]{1,4}|[a-z]{1,8}[0-9]{0,3})?$`)
)

// Check says what is wrong with a manifest, or nil.
func (m Manifest) Check() error {
	wrong := ""
	digest, err := hex.DecodeString(m.SHA256)
	switch {
	case !uuid.MatchString(m.Cluster):
		wrong = "its cluster is no UUID"
	case !uuid.MatchString(m.Incarnation):
		wrong = "its incarnation is no UUID"
	case m.Generation < 0 || m.Revision < 0 || m.Migration < 1 || m.Migration > 1<<20:
		wrong = "a number is out of its bounds"
	case m.TakenAt.Year() < 1970 || m.TakenAt.Year() > 9999:
		wrong = "its time is none"
	case !picloud.ValidName(m.By):
		wrong = "it names no node"
	case !version.MatchString(m.Postgres):
		wrong = "it names no version of PostgreSQL"
	case err != nil || len(digest) != 32:
		wrong = "its digest is none"
	case m.Size < 1 || m.Size > MaxSize:
		wrong = fmt.Sprintf("its size is not between 1 and %d bytes", int64(MaxSize))
	}
	if wrong != "" {
		return &picloud.Error{Code: picloud.CodeInvalid, Op: "read manifest of a dump", Detail: wrong}
	}
	return nil
}

// Newer reports whether m holds a later state than another one.
func (m Manifest) Newer(than Manifest) bool { return m.Compare(than) > 0 }

// Compare orders manifests by the state that they hold, the later one last.
func (m Manifest) Compare(to Manifest) int {
	return cmp.Or(
		cmp.Compare(m.Generation, to.Generation),
		cmp.Compare(m.Revision, to.Revision), // before the time: boards have wrong clocks
		m.TakenAt.Compare(to.TakenAt),
	)
}

// decode reads a manifest.
func decode(raw []byte) (m Manifest, err error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if err := d.Decode(&m); err != nil {
		return Manifest{}, &picloud.Error{Code: picloud.CodeInvalid, Op: "read manifest of a dump", Detail: "it is no JSON", Err: err}
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Manifest{}, &picloud.Error{Code: picloud.CodeInvalid, Op: "read manifest of a dump", Detail: "something follows it"}
	}
	m.TakenAt = m.TakenAt.UTC()
	return m, m.Check()
}

// Read reads what Write wrote: the manifest, and the dump that follows.
func Read(from io.Reader) (m Manifest, dump io.Reader, err error) {
	r := bufio.NewReaderSize(from, maxManifest)
	line, err := r.ReadSlice('\n')
	if err != nil {
		return m, nil, &picloud.Error{Code: picloud.CodeInvalid, Op: "read manifest of a dump", Detail: "it is cut short or too long", Err: err}
	}
	m, err = decode(line)
	return m, r, err
}

// Write returns a manifest and the dump that follows as they travel, and how many bytes that is.
func Write(m Manifest, dump io.Reader) (io.Reader, int64, error) {
	raw, err := json.Marshal(m)
	if err != nil {
		return nil, 0, fmt.Errorf("write manifest of a dump: %w", err)
	}
	raw = append(raw, '\n')
	return io.MultiReader(bytes.NewReader(raw), dump), int64(len(raw)) + m.Size, nil
}
