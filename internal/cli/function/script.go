package function

import (
	"errors"
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

// scripts are what the arguments of a command name.
type scripts struct {
	all        []script
	misnamed   []error // one for each file in a folder that is passed over because of its name
	unreadable []error // one for each file in a folder that holds no script
}

// scripts reads the files that args name; a folder stands for the scripts in it, but
// not for those in folders below, of which a warning tells. name overrides the name of
// the only one.
func (c commands) scripts(cmd *cobra.Command, args []string, name string) (found scripts, err error) {
	var files, below []string
	listed := map[string]bool{} // the files that were found in a folder
	for _, arg := range args {
		expanded, deeper, folder, err := c.expand(arg)
		if err != nil {
			return found, err
		}
		for _, file := range expanded {
			listed[file] = folder
		}
		files, below = append(files, expanded...), append(below, deeper...)
	}
	below = slices.DeleteFunc(below, func(folder string) bool {
		return slices.ContainsFunc(args, func(arg string) bool { return filepath.Clean(arg) == folder })
	})
	if len(below) > 0 {
		c.Warnf("the scripts in %s are passed over: a folder stands for those in it, and not for those in folders below", strings.Join(below, ", "))
	}
	if name != "" && len(files) > 1 {
		return found, failure.Usagef(cmd, "--name is for one file, and there are %d", len(files))
	}
	for _, file := range files {
		s, err := c.readScript(cmd, file, name)
		var misnamed *failure.Usage
		switch {
		case err == nil:
		case !listed[file]:
			return found, err
		case errors.As(err, &misnamed):
			found.misnamed = append(found.misnamed, fmt.Errorf("%s is passed over: %s", file, misnamed.Message))
			continue
		default:
			found.unreadable = append(found.unreadable, err)
			continue
		}
		if i := slices.IndexFunc(found.all, func(o script) bool { return o.name == s.name }); i >= 0 {
			return found, failure.Usagef(cmd, "%s and %s are both function %q", found.all[i].file, file, s.name)
		}
		found.all = append(found.all, s)
	}
	return found, nil
}

// only returns the one script of a command that takes one.
func (f scripts) only(cmd *cobra.Command, arg string) (script, error) {
	switch n := len(f.all) + len(f.misnamed) + len(f.unreadable); {
	case n != 1:
		return script{}, failure.Usagef(cmd, "name one script, %s has %d", arg, n)
	case len(f.all) == 0:
		return script{}, slices.Concat(f.misnamed, f.unreadable)[0]
	default:
		return f.all[0], nil
	}
}

// expand returns the files that an argument stands for, and the folders below it that
// hold scripts too.
func (c commands) expand(arg string) (files, below []string, folder bool, err error) {
	if arg == "-" {
		return []string{arg}, nil, false, nil
	}
	info, err := os.Stat(arg)
	if err != nil {
		return nil, nil, false, fmt.Errorf("read script: %w", err)
	}
	if !info.IsDir() {
		return []string{arg}, nil, false, nil
	}
	files, err = filepath.Glob(filepath.Join(escapeGlob(arg), "*"+scriptSuffix))
	if err != nil {
		return nil, nil, true, err
	}
	below = foldersWithScripts(arg)
	if len(files) == 0 {
		e := &picloud.Error{Code: picloud.CodeInvalid, Detail: fmt.Sprintf("read scripts: there is no %s file in %s", scriptSuffix, arg)}
		if len(below) > 0 {
			e.Hint = "there are some in " + strings.Join(below, ", ") + ": name that folder"
		}
		return nil, nil, true, e
	}
	return files, below, true, nil
}

// maxFolders bounds how many folders of a folder are looked into.
const maxFolders = 1000

// foldersWithScripts lists the folders directly in dir that hold scripts.
func foldersWithScripts(dir string) (found []string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, entry := range entries[:min(len(entries), maxFolders)] {
		if !entry.IsDir() || strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		path := filepath.Join(dir, entry.Name())
		if files, err := filepath.Glob(filepath.Join(escapeGlob(path), "*"+scriptSuffix)); err == nil && len(files) > 0 {
			found = append(found, path)
		}
	}
	return found
}

// escapeGlob escapes the characters of a path that have a meaning in a pattern.
func escapeGlob(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// suggestion offers a valid name that is close to an invalid one: my-function for
// my_function.
func suggestion(name string) string {
	near := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		default:
			return '-'
		}
	}, name)
	near = strings.Trim(strings.TrimLeft(near, "-0123456789"), "-")
	for strings.Contains(near, "--") {
		near = strings.ReplaceAll(near, "--", "-")
	}
	near = strings.TrimRight(near[:min(len(near), picloud.MaxNameLength)], "-")
	if !picloud.ValidName(near) {
		return ", with --name"
	}
	return ", for example with --name " + near
}

// readScript reads one file. It makes the checks that need no server.
func (c commands) readScript(cmd *cobra.Command, file, name string) (script, error) {
	s := script{file: file, name: name}
	if name == "" {
		if file == "-" {
			return s, failure.Usagef(cmd, "a script from standard input needs --name")
		}
		s.name = strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	}
	if !picloud.ValidName(s.name) {
		return s, failure.Usagef(cmd, "%q cannot name a function: use a lower-case letter, then up to 62 lower-case letters, digits or hyphens%s", s.name, suggestion(s.name))
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
