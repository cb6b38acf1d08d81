package manager

import (
	"bytes"
	"fmt"
	"unicode/utf8"

	"github.com/picloud/picloud"
)

// checkSource refuses what no executor has to look at: too much, nothing, or
// not text.
func checkSource(op, resource string, source []byte) error {
	if len(source) > picloud.MaxSourceSize {
		return &picloud.Error{
			Code: picloud.CodeSourceBounds, Op: op, Resource: resource,
			Detail: fmt.Sprintf("the script has %d bytes, more than the %d that are allowed", len(source), picloud.MaxSourceSize),
			Hint:   "split it into several functions",
		}
	}
	if len(bytes.TrimSpace(source)) == 0 {
		return &picloud.Error{
			Code: picloud.CodeScript, Op: op, Resource: resource, Detail: "the script is empty",
			Hint:   "send the source as the request's body, for example: curl --data-binary @hello.risor",
			Script: &picloud.ScriptError{Line: 1, Column: 1, Message: "the script is empty"},
		}
	}
	if at := invalidUTF8(source); at >= 0 {
		line, column := position(source, at)
		message := fmt.Sprintf("byte 0x%02x is not UTF-8", source[at])
		return &picloud.Error{
			Code: picloud.CodeScript, Op: op, Resource: resource, Detail: message, Hint: "save the script as UTF-8",
			Script: &picloud.ScriptError{Line: line, Column: column, Message: message},
		}
	}
	return nil
}

// checkHandlers refuses a script that no call could ever reach.
func checkHandlers(op, resource string, c picloud.Compiled) error {
	if len(c.Handlers) > 0 {
		return nil
	}
	const message = "the script defines no handler"
	return &picloud.Error{
		Code: picloud.CodeScript, Op: op, Resource: resource, Detail: message,
		Hint:   "an HTTP function needs: function handle(req) { … }",
		Script: &picloud.ScriptError{Line: 1, Column: 1, Message: message},
	}
}

// invalidUTF8 returns the offset of the first byte that is not UTF-8, or -1.
func invalidUTF8(b []byte) int {
	for at := 0; at < len(b); {
		r, size := utf8.DecodeRune(b[at:])
		if r == utf8.RuneError && size == 1 {
			return at
		}
		at += size
	}
	return -1
}

// position returns line and column, in characters from 1, of an offset.
func position(b []byte, at int) (line, column int) {
	before := b[:at]
	start := bytes.LastIndexByte(before, '\n') + 1
	return bytes.Count(before, []byte("\n")) + 1, utf8.RuneCount(before[start:]) + 1
}
