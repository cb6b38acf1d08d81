package data

import (
	"bytes"

	"github.com/picloud/picloud/executor/wire"
)

// scanCookies yields the cookies of a request in the order in which they came
// (RFC 6265, 4.2). Quotes around a value are not part of it. What has no name is
// passed over.
func scanCookies(block wire.Pairs, yield func(name, value part) bool) {
	for header, line := range block.All() {
		if !bytes.EqualFold(header, []byte("cookie")) {
			continue
		}
		for len(line) > 0 {
			var pair []byte
			pair, line = cutByte(line, ';')
			name, value, found := bytes.Cut(pair, []byte("="))
			name, value = bytes.Trim(name, " \t"), bytes.Trim(value, " \t")
			if !found || len(name) == 0 {
				continue
			}
			if n := len(value); n > 1 && value[0] == '"' && value[n-1] == '"' {
				value = value[1 : n-1]
			}
			if !yield(part{raw: name}, part{raw: value}) {
				return
			}
		}
	}
}
