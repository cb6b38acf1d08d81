package wire

// The bounds of Config and Hello.
const (
	MaxPrograms = 4096
	maxLayers   = 32
	maxReason   = 200 // bytes of a reason
)

// Config is the agent's first frame: it tells the worker which app it serves.
type Config struct {
	Version  int    // of the protocol; see Version
	App      string // shown to the script; the agent identifies the app by the socket alone
	Memory   int64  // heap limit in bytes
	Programs int    // slots are below this, at most MaxPrograms
}

func (f *Config) appendPayload(dst []byte) (head, tail []byte) {
	dst = appendArray(dst, 4)
	dst = appendUint(dst, uint64(max(f.Version, 0)))
	dst = appendBytes(dst, f.App)
	dst = appendUint(dst, uint64(max(f.Memory, 0)))
	return appendUint(dst, uint64(max(f.Programs, 0))), nil
}

// Decode reads the payload of a Config frame.
func (f *Config) Decode(payload []byte) error {
	c := cursor{b: payload}
	c.record(4)
	f.Version = int(c.uint(1 << 16))
	f.App = c.text(maxName)
	f.Memory = int64(c.uint(1 << 40))
	f.Programs = int(c.uint(MaxPrograms))
	return c.done("config")
}

// Hello is the worker's first frame.
type Hello struct {
	Version int       // of the protocol; see Version
	Layers  []string  // layers of the sandbox that are on and verified
	Missing []Missing // layers that are not on
}

// Missing is a layer of the sandbox that the worker could not put on.
type Missing struct {
	Layer  string
	Reason string // for people; cut at 200 bytes
}

func (f *Hello) appendPayload(dst []byte) (head, tail []byte) {
	dst = appendUint(appendArray(dst, 3), uint64(max(f.Version, 0)))
	layers := f.Layers[:min(len(f.Layers), maxLayers)]
	dst = appendArray(dst, len(layers))
	for _, l := range layers {
		dst = appendBytes(dst, cut(l, maxName))
	}
	missing := f.Missing[:min(len(f.Missing), maxLayers)]
	dst = appendArray(dst, len(missing))
	for _, m := range missing {
		dst = appendBytes(appendBytes(appendArray(dst, 2), cut(m.Layer, maxName)), cut(m.Reason, maxReason))
	}
	return dst, nil
}

// Decode reads the payload of a Hello frame.
func (f *Hello) Decode(payload []byte) error {
	c := cursor{b: payload}
	c.record(3)
	f.Version = int(c.uint(1 << 16))
	f.Layers, f.Missing = nil, nil
	for range c.list(maxLayers) {
		f.Layers = append(f.Layers, c.text(maxName))
	}
	for range c.list(maxLayers) {
		c.record(2)
		f.Missing = append(f.Missing, Missing{c.text(maxName), c.text(maxReason)})
	}
	return c.done("hello")
}
