package module

import (
	"context"
	"regexp/syntax"
	"sync"

	modregexp "github.com/deepnoodle-ai/risor/v2/pkg/modules/regexp"
	"github.com/deepnoodle-ai/risor/v2/pkg/object"
)

// The bounds of what is kept of compiled expressions.
const (
	maxPatterns       = 128
	maxPatternLength  = 256
	maxPatternProgram = 1000 // instructions
)

// patterns keeps compiled expressions: scripts compile theirs at the top level,
// which runs with each call. They are immutable, so that sharing them leaks
// nothing from one call to the next.
var patterns = struct {
	sync.Mutex
	compiled map[string]object.Object
}{compiled: map[string]object.Object{}}

// compileRegexp is regexp.compile.
func compileRegexp(ctx context.Context, args ...object.Object) (object.Object, error) {
	var pattern string
	if len(args) == 1 {
		if s, ok := args[0].(*object.String); ok {
			pattern = s.Value()
		}
	}
	if pattern == "" || len(pattern) > maxPatternLength {
		return modregexp.Compile(ctx, args...)
	}
	patterns.Lock()
	kept, ok := patterns.compiled[pattern]
	patterns.Unlock()
	if ok {
		return kept, nil
	}
	compiled, err := modregexp.Compile(ctx, args...)
	if err != nil || !small(pattern) {
		return compiled, err
	}
	patterns.Lock()
	defer patterns.Unlock()
	if len(patterns.compiled) >= maxPatterns {
		clear(patterns.compiled)
	}
	patterns.compiled[pattern] = compiled
	return compiled, nil
}

// small reports whether an expression is cheap to keep.
func small(pattern string) bool {
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return false
	}
	program, err := syntax.Compile(tree.Simplify())
	return err == nil && len(program.Inst) <= maxPatternProgram
}

// regexpModule is Risor's, but keeps what it compiled.
func regexpModule() *object.Module {
	m := modregexp.Module()
	// It fails for names that the module does not have.
	if err := m.Override("compile", object.NewBuiltin("compile", compileRegexp).InModule("regexp")); err != nil {
		panic(err)
	}
	return m
}
