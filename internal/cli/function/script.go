package function

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/cli/failure"
)

// scriptSuffix is what the files of functions end in.
const scriptSuffix = ".risor"

// script is a file that holds a function's code.
type script struct {
	file   string // as given, for messages
	name   string // of the function
	source []byte
}

// scripts reads the files that args name; a folder stands for the scripts in
// it, but not for those in folders below. name overrides the name of the only one.
func (c commands) scripts(cmd *cobra.Command, args []string, name string) ([]script, error) {
	var files []string
	for _, arg := range args {
		found, err := expand(arg)
		if err != nil {
			return nil, err
		}
		files = append(files, found...)
	}
	if name != "" && len(files) > 1 {
		return nil, failure.Usagef(cmd, "--name is for one file, and there are %d", len(files))
	}
	var all []script
	for _, file := range files {
		s, err := c.readScript(cmd, file, name)
		if err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(all, func(o script) bool { return o.name == s.name }); i >= 0 {
			return nil, failure.Usagef(cmd, "%s and %s are both function %q", all[i].file, file, s.name)
		}
		all = append(all, s)
	}
	return all, nil
}

func expand(arg string) ([]string, error) {
	if arg == "-" {
		return []string{arg}, nil
	}
	info, err := os.Stat(arg)
	if err != nil {
		return nil, fmt.Errorf("read script: %w", err)
	}
	if !info.IsDir() {
		return []string{arg}, nil
	}
	files, err := filepath.Glob(filepath.Join(escapeGlob(arg), "*"+scriptSuffix))
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("read scripts: there is no %s file in %s", scriptSuffix, arg)
	}
	return files, err
}

// escapeGlob makes a folder's name stand for itself in a pattern.
func escapeGlob(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// readScript reads one file and checks what needs no server.
func (c commands) readScript(cmd *cobra.Command, file, name string) (script, error) {
	s := script{file: file, name: name}
	if name == "" {
		if file == "-" {
			return s, failure.Usagef(cmd, "a script from standard input needs --name")
		}
		s.name = strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	}
	if !picloud.ValidName(s.name) {
		return s, failure.Usagef(cmd, "%q cannot name a function: use a lower-case letter, then up to 62 lower-case letters, digits or hyphens, with --name", s.name)
	}
	source, err := c.ReadInput(file, picloud.MaxSourceSize)
	if err != nil {
		return s, fmt.Errorf("read script: %w", err)
	}
	fail := func(detail, hint string) (script, error) {
		return s, &picloud.Error{Code: picloud.CodeSourceBounds, Op: "read script", Resource: failure.StreamName(file), Detail: detail, Hint: hint}
	}
	switch {
	case len(source) > picloud.MaxSourceSize:
		return fail("it is larger than 64 KiB", "move data out of the script, or split it into several functions")
	case len(strings.TrimSpace(string(source))) == 0:
		return fail("it is empty", "a function starts as: function handle(req) { return \"hello\" }")
	case !utf8.Valid(source):
		return fail("it is not UTF-8 text", "is it the right file?")
	}
	s.source = source
	return s, nil
}
