package powercut

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
)

// How says what the disk has kept of what was not synced.
type How int64

// Kept: all of it. Lost: nothing. Any greater number is a seed: a part of it, by chance.
const (
	Kept How = iota
	Lost
)

func (h How) String() string {
	switch h {
	case Kept:
		return "all kept"
	case Lost:
		return "what was not synced is lost"
	}
	return fmt.Sprintf("mixed %d", int64(h))
}

// Rules say what an fsync of a file keeps.
type Rules bool

const (
	// POSIX keeps its content. Its name needs an fsync of the folder.
	POSIX Rules = false
	// Linux keeps the name of a new file too, as ext4, XFS, Btrfs and F2FS do.
	Linux Rules = true
)

// sector is what a disk writes in one piece, in bytes.
const sector = 512

// inode is a file or a folder: what is surely on the disk, and what may be.
type inode struct {
	folder  bool
	entries map[string]*inode // as synced
	names   []naming          // since then
	data    []byte            // as synced
	writes  []Op              // since then
}

// naming is a change of a folder's entries.
type naming struct {
	index int
	to    map[string]*inode // nil: the name is removed
}

// volume is a file system after some operations.
type volume struct {
	root  *inode
	rules Rules
}

func newFolder() *inode { return &inode{folder: true, entries: map[string]*inode{}} }

// Build makes in dir, which must be empty, the folder as a loss of power after the first
// done operations could have left it.
func Build(dir string, ops []Op, done int, rules Rules, how How) error {
	v := &volume{newFolder(), rules}
	for i, o := range ops[:done] {
		if err := v.apply(i, o); err != nil {
			return fmt.Errorf("operation %d, %s: %w", i, o, err)
		}
	}
	var chance *rand.Rand
	if how > Lost {
		chance = rand.New(rand.NewPCG(uint64(how), uint64(done)))
	}
	return v.root.write(dir, how, chance)
}

// now is a folder's entries with all that changed.
func (n *inode) now() map[string]*inode { return n.after(len(n.names)) }

func (n *inode) after(changes int) map[string]*inode {
	entries := maps.Clone(n.entries)
	for _, c := range n.names[:changes] {
		for name, to := range c.to {
			if to == nil {
				delete(entries, name)
			} else {
				entries[name] = to
			}
		}
	}
	return entries
}

// find returns what a path names, and nil if there is nothing.
func (v *volume) find(path string) *inode {
	if path == "." {
		return v.root
	}
	folder := v.find(filepath.Dir(path))
	if folder == nil || !folder.folder {
		return nil
	}
	return folder.now()[filepath.Base(path)]
}

func (v *volume) rename(index int, path string, to *inode) error {
	folder := v.find(filepath.Dir(path))
	if folder == nil {
		return fmt.Errorf("%s has no folder", path)
	}
	folder.names = append(folder.names, naming{index, map[string]*inode{filepath.Base(path): to}})
	return nil
}

func (v *volume) apply(index int, o Op) error {
	switch o.Kind {
	case Create:
		return v.rename(index, o.Path, &inode{})
	case Mkdir:
		return v.rename(index, o.Path, newFolder())
	case Remove:
		return v.rename(index, o.Path, nil)
	case Note:
		return nil
	}
	n := v.find(o.Path)
	if n == nil {
		return os.ErrNotExist
	}
	switch o.Kind {
	case Link:
		return v.rename(index, o.To, n)
	case Rename:
		if filepath.Dir(o.Path) != filepath.Dir(o.To) {
			if err := v.rename(index, o.Path, nil); err != nil {
				return err
			}
			return v.rename(index, o.To, n)
		}
		folder := v.find(filepath.Dir(o.Path))
		folder.names = append(folder.names, naming{index, map[string]*inode{filepath.Base(o.Path): nil, filepath.Base(o.To): n}})
	case Write, Truncate, Grow:
		o.index = index
		n.writes = append(n.writes, o)
	case Sync:
		n.sync(int(o.Offset))
		if folder := v.find(filepath.Dir(o.Path)); v.rules == Linux && !n.folder {
			folder.syncName(n)
		}
	default:
		return fmt.Errorf("%s is not simulated", o.Kind)
	}
	return nil
}

// sync makes safe what was done before the operation index.
func (n *inode) sync(index int) {
	if n.folder {
		changes := 0
		for changes < len(n.names) && n.names[changes].index < index {
			changes++
		}
		n.entries, n.names = n.after(changes), n.names[changes:]
		return
	}
	for len(n.writes) > 0 && n.writes[0].index < index {
		n.data = change(n.data, n.writes[0])
		n.writes = n.writes[1:]
	}
}

// syncName makes the name of a file safe, with what happened to the folder before it was made.
func (n *inode) syncName(file *inode) {
	for i, c := range n.names {
		for _, to := range c.to {
			if to == file {
				n.entries, n.names = n.after(i+1), n.names[i+1:]
				return
			}
		}
	}
}

func change(data []byte, o Op) []byte {
	grow := func(size int64) {
		if size > int64(len(data)) {
			data = append(data, make([]byte, size-int64(len(data)))...)
		}
	}
	switch o.Kind {
	case Write:
		grow(o.Offset + int64(len(o.Data)))
		copy(data[o.Offset:], o.Data)
	case Grow:
		grow(o.Offset)
	case Truncate:
		grow(o.Offset)
		data = data[:o.Offset:o.Offset]
	}
	return data
}

// left is a file's content as the disk has kept it.
func (n *inode) left(how How, chance *rand.Rand) []byte {
	data := bytes.Clone(n.data)
	if how == Lost {
		return data
	}
	for _, o := range n.writes {
		if chance == nil || o.Kind != Write {
			if chance == nil || chance.IntN(4) > 0 {
				data = change(data, o)
			}
			continue
		}
		switch chance.IntN(4) {
		case 0: // lost
		case 1: // the file has grown, the content is not there
			data = change(data, Op{Kind: Grow, Offset: o.Offset + int64(len(o.Data))})
		case 2: // some sectors
			for at := int64(0); at < int64(len(o.Data)); {
				end := min((o.Offset+at)/sector*sector+sector-o.Offset, int64(len(o.Data)))
				if chance.IntN(2) == 0 {
					data = change(data, Op{Kind: Write, Offset: o.Offset + at, Data: o.Data[at:end]})
				}
				at = end
			}
		default:
			data = change(data, o)
		}
	}
	return data
}

// write makes the folder.
func (n *inode) write(dir string, how How, chance *rand.Rand) error {
	changes := len(n.names)
	switch {
	case how == Lost:
		changes = 0
	case chance != nil:
		changes = chance.IntN(len(n.names) + 1)
	}
	entries := n.after(changes)
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		child, path := entries[name], filepath.Join(dir, name)
		if child.folder {
			if err := os.Mkdir(path, 0o700); err != nil {
				return err
			}
			if err := child.write(path, how, chance); err != nil {
				return err
			}
			continue
		}
		data := child.left(how, chance)
		size := len(data)
		data = bytes.TrimRight(data, "\x00") // a hole costs nothing
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return err
		}
		if err := os.Truncate(path, int64(size)); err != nil {
			return err
		}
	}
	return nil
}

// Digest returns a digest of all names and contents of a folder, by which states that
// are the same are tried once.
func Digest(dir string) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	err = fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		fmt.Fprintf(h, "%q %t ", name, d.IsDir())
		if !d.Type().IsRegular() {
			return nil
		}
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%d ", len(raw))
		h.Write(bytes.TrimRight(raw, "\x00"))
		return nil
	})
	h.Sum(sum[:0])
	return sum, err
}

// same reports in which way a folder differs from what a record makes of it.
func same(dir string, ops []Op) error {
	again, err := os.MkdirTemp("", "powercut-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(again)
	if err := Build(again, ops, len(ops), POSIX, Kept); err != nil {
		return err
	}
	is, err := Digest(dir)
	if err != nil {
		return err
	}
	made, err := Digest(again)
	if err == nil && is != made {
		err = fmt.Errorf("the folder is not what %d operations make", len(ops))
	}
	return err
}
