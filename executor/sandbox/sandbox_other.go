//go:build !linux

package sandbox

// Other systems are for development: no layers.
var required []string

func apply(Options) error { return nil }

func verify(Options) ([]string, error) { return nil, nil }
