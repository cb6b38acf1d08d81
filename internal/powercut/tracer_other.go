//go:build !linux || (!amd64 && !arm64)

package powercut

import "errors"

// Supported reports whether this machine can record.
const Supported = false

func watch([]string, string, string) (int, error) { return 0, errors.ErrUnsupported }
