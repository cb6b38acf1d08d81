// Package strictjson refuses JSON texts that two readers can understand in two ways
// (RFC 7493, I-JSON): objects that name a member twice, and strings with half of a
// surrogate pair. encoding/json takes the last member of a name, and replaces the half.
package strictjson

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
)

// maxPath bounds the path in an error, in bytes.
const maxPath = 200

// Error says what is wrong with a text, and where.
type Error struct {
	Path   string // ".items[3].name"; empty: the text itself
	Reason string
}

// Error implements error.
func (e *Error) Error() string {
	if e.Path == "" {
		return e.Reason
	}
	return strings.TrimPrefix(e.Path, ".") + " " + e.Reason
}

// Check looks at a text that encoding/json takes for valid. The error is an *Error.
func Check(text []byte) error {
	c := checker{text: text}
	if fault := c.value(nil); fault != nil {
		return fault
	}
	return nil
}

// checker walks over a text. It trusts its syntax.
type checker struct {
	text []byte
	pos  int
}

// step is one step of a path: a member or an item.
type step struct {
	above *step
	name  string
	index int // of an item; a member has -1
}

func (c *checker) value(at *step) *Error {
	switch c.next() {
	case '{':
		return c.object(at)
	case '[':
		return c.array(at)
	case '"':
		_, fault := c.string(at)
		return fault
	}
	for c.pos++; c.pos < len(c.text) && strings.IndexByte(",]} \t\r\n", c.text[c.pos]) < 0; {
		c.pos++
	}
	return nil
}

func (c *checker) object(at *step) *Error {
	c.pos++
	seen := map[string]struct{}{}
	for c.next() == '"' {
		name, fault := c.string(at)
		if fault != nil {
			return fault
		}
		member := &step{at, name, -1}
		if _, twice := seen[name]; twice {
			return c.fail(member, "is given twice")
		}
		seen[name] = struct{}{}
		c.next()
		c.pos++ // the colon
		if fault := c.value(member); fault != nil {
			return fault
		}
		if c.next() == ',' {
			c.pos++
		}
	}
	c.pos++
	return nil
}

func (c *checker) array(at *step) *Error {
	c.pos++
	for i := 0; c.next() != ']' && c.pos < len(c.text); i++ {
		if fault := c.value(&step{at, "", i}); fault != nil {
			return fault
		}
		if c.next() == ',' {
			c.pos++
		}
	}
	c.pos++
	return nil
}

// string reads a string, whose opening quote is next.
func (c *checker) string(at *step) (string, *Error) {
	start := c.pos
	for c.pos++; c.pos < len(c.text) && c.text[c.pos] != '"'; c.pos++ {
		if c.text[c.pos] != '\\' {
			continue
		}
		c.pos++
		if c.pos >= len(c.text) || c.text[c.pos] != 'u' {
			continue
		}
		first := c.unit(c.pos + 1)
		c.pos += 4
		if !utf16.IsSurrogate(first) {
			continue
		}
		if c.pos+2 >= len(c.text) || c.text[c.pos+1] != '\\' || c.text[c.pos+2] != 'u' || utf16.DecodeRune(first, c.unit(c.pos+3)) == 0xFFFD {
			return "", c.fail(at, fmt.Sprintf("has half of a surrogate pair, \\u%04x", first))
		}
		c.pos += 6
	}
	c.pos++
	var name string
	if json.Unmarshal(c.text[start:min(c.pos, len(c.text))], &name) != nil {
		return "", c.fail(at, "is no JSON")
	}
	return name, nil
}

// unit reads four hexadecimal digits.
func (c *checker) unit(at int) rune {
	n, err := strconv.ParseUint(string(c.text[min(at, len(c.text)):min(at+4, len(c.text))]), 16, 16)
	if err != nil {
		return 0
	}
	return rune(n)
}

// next skips blanks and returns the byte behind them; 0: the end.
func (c *checker) next() byte {
	for c.pos < len(c.text) && strings.IndexByte(" \t\r\n", c.text[c.pos]) >= 0 {
		c.pos++
	}
	if c.pos >= len(c.text) {
		return 0
	}
	return c.text[c.pos]
}

func (c *checker) fail(at *step, reason string) *Error {
	path := ""
	for ; at != nil && len(path) < maxPath; at = at.above {
		part := "." + at.name
		if at.index >= 0 {
			part = "[" + strconv.Itoa(at.index) + "]"
		}
		path = part + path
	}
	if len(path) > maxPath {
		path = strings.ToValidUTF8("…"+path[len(path)-maxPath:], "")
	}
	return &Error{Path: path, Reason: reason}
}
