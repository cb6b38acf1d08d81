package replica

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/picloud/picloud"
)

// What nodes hand one another of the catalog while the database is away.
//
//	copy     "PCC1", certificate (2 bytes of length), signature (64), catalog (4 bytes of length)
//	objects  for each digest that was asked for, in order: 4 bytes of length, source
//
// Lengths are big endian. A source that the node does not have has the length noObject.
const (
	copyMagic = "PCC1"
	// maxCertificate, signatureSize and maxCatalog bound a copy, in bytes: 20,000 functions
	// with some settings have 10 MB.
	maxCertificate = 4 << 10
	signatureSize  = 64
	maxCatalog     = 32 << 20
	// maxRoutes bounds what a copy lists.
	maxRoutes = 50_000
	// maxObjects is how many sources are asked for at once: 64 of 64 KiB.
	maxObjects = 64
	// maxFetched bounds all sources that are fetched for one revision, in bytes.
	maxFetched = 128 << 20
	noObject   = 1<<32 - 1
)

// Copy is one revision of the catalog as a node hands it to another, with the signature of
// a node that may manage. It has what is the same for all nodes.
type Copy struct {
	Certificate, Signature []byte
	Catalog                []byte // JSON of handed
}

// handed is the content of a Copy. Sources are handed by themselves.
type handed struct {
	Incarnation string              `json:"incarnation"`
	Rev         int64               `json:"rev"`
	Routes      []picloud.Route     `json:"routes"`
	Apps        []picloud.AppConfig `json:"apps"` // secrets are sealed
}

// encode writes a copy.
func (c *Copy) encode() []byte {
	out := make([]byte, 0, len(copyMagic)+2+len(c.Certificate)+signatureSize+4+len(c.Catalog))
	out = append(out, copyMagic...)
	out = binary.BigEndian.AppendUint16(out, uint16(len(c.Certificate)))
	out = append(append(out, c.Certificate...), c.Signature...)
	out = binary.BigEndian.AppendUint32(out, uint32(len(c.Catalog)))
	return append(out, c.Catalog...)
}

// readCopy reads a copy from a node that may send anything for any time: it allocates what
// has come, and reads no more than a copy may have.
func readCopy(r io.Reader) (*Copy, error) {
	head := make([]byte, len(copyMagic)+2)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, fmt.Errorf("read copy of the catalog: %w", err)
	}
	size := int(binary.BigEndian.Uint16(head[len(copyMagic):]))
	if string(head[:len(copyMagic)]) != copyMagic || size > maxCertificate {
		return nil, errors.New("read copy of the catalog: it begins in another way")
	}
	proof := make([]byte, size+signatureSize+4)
	if _, err := io.ReadFull(r, proof); err != nil {
		return nil, fmt.Errorf("read copy of the catalog: %w", err)
	}
	length := int64(binary.BigEndian.Uint32(proof[size+signatureSize:]))
	if length > maxCatalog {
		return nil, fmt.Errorf("read copy of the catalog: %d bytes are more than the %d that it may have", length, maxCatalog)
	}
	var body bytes.Buffer
	if n, err := io.Copy(&body, io.LimitReader(r, length)); err != nil || n < length {
		return nil, fmt.Errorf("read copy of the catalog: it ends after %d of %d bytes: %w", n, length, errors.Join(err, io.ErrUnexpectedEOF))
	}
	return &Copy{Certificate: proof[:size], Signature: proof[size : size+signatureSize], Catalog: body.Bytes()}, nil
}

// open reads the content of a copy whose signature was checked.
func (c *Copy) open() (h handed, err error) {
	if err := json.Unmarshal(c.Catalog, &h); err != nil {
		return h, fmt.Errorf("read copy of the catalog: %w", err)
	}
	if h.Incarnation == "" || h.Rev <= 0 || len(h.Routes) > maxRoutes || len(h.Apps) > maxRoutes {
		return h, errors.New("read copy of the catalog: it is not one of a cluster")
	}
	for _, r := range h.Routes {
		if !picloud.ValidName(r.App) || !picloud.ValidName(r.Function) || r.Rev > h.Rev {
			return h, fmt.Errorf("read copy of the catalog: %s/%s is no function of revision %d", picloud.Shorten(r.App, 80), picloud.Shorten(r.Function, 80), h.Rev)
		}
	}
	for _, app := range h.Apps {
		if !picloud.ValidName(app.App) {
			return h, fmt.Errorf("read copy of the catalog: %s is no app", picloud.Shorten(app.App, 80))
		}
	}
	return h, nil
}

// catalog is the state as others get it.
func (s *State) catalog() ([]byte, error) {
	h := handed{Incarnation: s.Incarnation, Rev: s.Rev, Routes: make([]picloud.Route, 0, len(s.Routes)), Apps: make([]picloud.AppConfig, 0, len(s.Apps))}
	for _, r := range s.Routes {
		h.Routes = append(h.Routes, r)
	}
	for _, app := range s.Apps {
		h.Apps = append(h.Apps, app)
	}
	raw, err := json.Marshal(h)
	if err == nil && len(raw) > maxCatalog {
		err = fmt.Errorf("it has %d bytes, and may have %d", len(raw), maxCatalog)
	}
	if err != nil {
		return nil, fmt.Errorf("hand over the catalog: %w", err)
	}
	return raw, nil
}

// writeObjects writes the sources of digests.
func (s *State) writeObjects(w io.Writer, digests []picloud.Digest) error {
	for _, d := range digests {
		source, found := s.Sources[d]
		size := uint32(len(source))
		if !found {
			size = noObject
		}
		if _, err := w.Write(binary.BigEndian.AppendUint32(nil, size)); err != nil {
			return err
		}
		if _, err := w.Write(source); err != nil {
			return err
		}
	}
	return nil
}

// readObjects reads the sources of digests into found, and checks each of them. A node may
// lack some.
func readObjects(r io.Reader, digests []picloud.Digest, found map[picloud.Digest][]byte) error {
	var head [4]byte
	for _, d := range digests {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return fmt.Errorf("read sources: %w", err)
		}
		size := binary.BigEndian.Uint32(head[:])
		if size == noObject {
			continue
		}
		if size > picloud.MaxSourceSize {
			return fmt.Errorf("read source %s: %d bytes are more than a script has", d, size)
		}
		source := make([]byte, size)
		if _, err := io.ReadFull(r, source); err != nil {
			return fmt.Errorf("read source %s: %w", d, err)
		}
		if picloud.DigestOf(source) != d {
			return fmt.Errorf("read source %s: it is another one", d)
		}
		found[d] = source
	}
	return nil
}
