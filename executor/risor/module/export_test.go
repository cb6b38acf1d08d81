package module

import "github.com/deepnoodle-ai/risor/v2/pkg/object"

// MaxPatterns is exported for tests that run scripts.
const MaxPatterns = maxPatterns

// Patterns returns the regular expressions that are kept.
func Patterns() map[string]object.Object { return patterns.compiled }
