package risor

import (
	"bytes"
	"fmt"
	"unicode/utf8"

	"github.com/picloud/picloud/executor/wire"
)

// The bounds of a source. Beyond them Risor's parser and compiler take too much
// time or memory for what they give.
const (
	MaxSource    = 64 << 10 // bytes
	MaxBindings  = 500      // names that are defined at the top level
	MaxOperators = 2000     // one behind the other in one expression
	MaxNesting   = 500      // brackets within brackets
)

// checkBytes refuses bytes that are not text, before anything reads them.
func checkBytes(source []byte) *Error {
	if len(source) > MaxSource {
		return newError(wire.ReasonSourceBounds, fmt.Sprintf("the script has %d bytes, at most %d are allowed", len(source), MaxSource))
	}
	bad := bytes.IndexByte(source, 0)
	what := "a NUL byte"
	for i := 0; i < len(source); {
		r, n := utf8.DecodeRune(source[i:])
		if r == utf8.RuneError && n == 1 {
			if bad < 0 || i < bad {
				bad, what = i, "bytes that are not UTF-8"
			}
			break
		}
		i += n
	}
	if bad < 0 {
		return nil
	}
	line := 1 + bytes.Count(source[:bad], []byte("\n"))
	column := 1 + utf8.RuneCount(source[bytes.LastIndexByte(source[:bad], '\n')+1:bad])
	return newError(wire.ReasonScript, "the script contains "+what).at(string(source), line, column)
}

// bounds walks the tokens of a source.
type bounds struct {
	source string
	levels []level // innermost last; the first is the top level
	names  int
	words  map[string]struct{}
	prev   token // before any line ends
}

// level counts the operators of the expression that is being read between two
// brackets. Statements and the values of a list stand side by side, so the
// longest counts.
type level struct {
	bracket byte
	count   int // so far, of the present one
	longest int // with what is in brackets inside
}

// checkBounds refuses a source that is over its bounds, and returns the words
// in it: the names that it may use.
func checkBounds(source string) (map[string]struct{}, *Error) {
	b := &bounds{source: source, levels: make([]level, 1, 16), words: map[string]struct{}{}}
	l := newLexer(source)
	for t := l.next(); t.kind != kindEOF; {
		next := l.next()
		if t.kind == kindEnd && !t.end {
			for next.kind == kindEnd && !next.end {
				next = l.next()
			}
		}
		if err := b.token(t, next); err != nil {
			return nil, err
		}
		if t.kind != kindEnd || t.end {
			b.prev = t
		}
		t = next
	}
	return b.words, nil
}

func (b *bounds) token(t, next token) *Error {
	top := &b.levels[len(b.levels)-1]
	switch t.kind {
	case kindIdent:
		b.words[t.text] = struct{}{}
		return b.word(t, next)
	case kindText:
		return b.template(t)
	case kindOpen:
		return b.open(t)
	case kindClose:
		return b.close(t, top)
	case kindComma:
		top.separate()
	case kindEnd:
		if t.end || b.endsStatement(next) {
			top.separate()
		}
	case kindInfix, kindChain, kindPostfix:
		return b.count(t, 1)
	}
	return nil
}

// word counts the keywords that extend an expression, and definitions.
func (b *bounds) word(t, next token) *Error {
	switch t.text {
	case "let", "const", "function":
		if len(b.levels) == 1 && (t.text != "function" || next.kind == kindIdent) {
			b.names++
		}
		if b.names > MaxBindings {
			return b.over(t, fmt.Sprintf("more than %d names are defined at the top level", MaxBindings))
		}
	case "in", "not", "else", "if", "match", "try", "catch", "finally", "throw", "return":
		return b.count(t, 1)
	}
	return nil
}

func (b *bounds) open(t token) *Error {
	if err := b.count(t, 1); err != nil {
		return err
	}
	if len(b.levels) > MaxNesting {
		return b.over(t, fmt.Sprintf("brackets are nested more than %d deep", MaxNesting))
	}
	b.levels = append(b.levels, level{bracket: t.text[0]})
	return nil
}

// close ends a level: what is in the brackets is one branch of the expression
// around them.
func (b *bounds) close(t token, inner *level) *Error {
	if len(b.levels) == 1 {
		return nil
	}
	longest := max(inner.count, inner.longest)
	b.levels = b.levels[:len(b.levels)-1]
	top := &b.levels[len(b.levels)-1]
	top.longest = max(top.longest, top.count+longest)
	if top.longest > MaxOperators {
		return b.over(t, fmt.Sprintf("an expression has more than %d operators", MaxOperators))
	}
	return nil
}

// template counts what is inside ${…}: each is an expression of its own.
func (b *bounds) template(t token) *Error {
	if err := b.count(t, 1); err != nil {
		return err
	}
	l := newLexer(t.text)
	for l.pos < len(l.src) {
		if l.peek(0) != '$' || l.peek(1) != '{' {
			l.advance(1)
			continue
		}
		operators := 0
		for l.advance(2); l.pos < len(l.src) && l.peek(0) != '}'; {
			switch inner := l.next(); inner.kind {
			case kindIdent:
				b.words[inner.text] = struct{}{}
			case kindInfix, kindChain, kindPostfix, kindOpen:
				operators++
			}
			l.skip()
		}
		if operators > MaxOperators {
			return b.count(t, operators)
		}
	}
	return nil
}

// endsStatement reports whether the end of a line ends the expression: not
// behind an operator, not before one that goes on with the line above, and not
// inside parentheses.
func (b *bounds) endsStatement(next token) bool {
	if b.levels[len(b.levels)-1].bracket == '(' {
		return false
	}
	if b.prev.kind == kindInfix || b.prev.kind == kindChain {
		return false
	}
	if next.kind == kindIdent && (next.text == "else" || next.text == "catch" || next.text == "finally") {
		return false
	}
	return next.kind != kindChain && next.kind != kindInfix
}

func (l *level) separate() {
	l.longest = max(l.longest, l.count)
	l.count = 0
}

func (b *bounds) count(t token, n int) *Error {
	top := &b.levels[len(b.levels)-1]
	if top.count += n; top.count > MaxOperators {
		return b.over(t, fmt.Sprintf("an expression has more than %d operators", MaxOperators))
	}
	return nil
}

func (b *bounds) over(t token, message string) *Error {
	return newError(wire.ReasonSourceBounds, message).at(b.source, t.line, t.column)
}
