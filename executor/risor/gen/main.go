// Command gen writes the parts of docs/functions.md that the code knows best:
// the host's modules and the limits. The rest of the page is written by hand.
//
//	go generate ./executor/risor
package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/picloud/picloud/executor/risor/module"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gen FILE")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "write page of functions:", err)
		os.Exit(1)
	}
}

func run(path string) error {
	have, err := os.ReadFile(path) //nolint:gosec // go generate names it
	if err != nil {
		return err
	}
	text, err := page(string(have))
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644) //nolint:gosec // a page of the documentation, for all to read
}

// page makes the generated sections of a page again.
func page(text string) (string, error) {
	for _, s := range []struct{ name, content string }{
		{"overview", overview(module.Modules())},
		{"modules", modules(module.Modules())},
		{"limits", limits()},
	} {
		begin := "<!-- begin " + s.name + ": made by go generate ./executor/risor -->\n"
		end := "<!-- end " + s.name + " -->\n"
		before, rest, ok := strings.Cut(text, begin)
		_, after, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			return "", fmt.Errorf("the page has no section between %q and %q", begin, end)
		}
		text = before + begin + s.content + end + after
	}
	return text, nil
}
