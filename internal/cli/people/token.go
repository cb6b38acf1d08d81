package people

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/cli/output"
	"github.com/picloud/picloud/internal/credentials"
)

// token is a new API token. It is what `picloud user add` and `user token` print for
// programs; with --save without the token itself.
type token struct {
	User    *picloud.User `json:"user,omitempty"`
	Token   string        `json:"token,omitempty"`
	Saved   string        `json:"saved,omitempty"`   // the file of --save
	Renewed []string      `json:"renewed,omitempty"` // files that held the old token and hold the new one

	name  string // of the user
	event string // what has happened, for people
}

func addSave(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "save", "", "write the token into this file (mode 0600) instead of printing it")
}

// checkSave refuses a file for --save that holds something else than a token. It runs
// before the token is made.
func checkSave(file string) error {
	if file == "" {
		return nil
	}
	fail := func(detail, hint string) error {
		return &picloud.Error{Code: picloud.CodeConflict, Op: "save token in", Resource: file, Detail: detail, Hint: hint}
	}
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("save token: %w", err)
	case !info.Mode().IsRegular():
		return fail("it is not a file", "name a file")
	}
	data, _, err := credentials.ReadSecret(file)
	if err != nil {
		return fmt.Errorf("save token: %w", err)
	}
	if text := strings.TrimSpace(string(data)); text != "" && !strings.HasPrefix(text, tokenPrefix) {
		return fail("it holds something that is not a token, and stays as it is", "name another file, or remove this one")
	}
	return nil
}

// tokenPrefix starts every API token.
const tokenPrefix = "pct_"

// handOver writes a token into the file of --save, or prints it.
func (c commands) handOver(t token, save string) error {
	if save != "" {
		if err := credentials.WriteToken(save, t.Token); err != nil {
			c.Warnf("the token could not be saved: %v; it is printed instead", err)
		} else {
			t.Saved = save
		}
	}
	printed := t
	if t.Saved != "" {
		printed.Token = ""
	}
	return c.Print(printed, func() {
		switch {
		case t.Saved != "":
			c.Printf("%s; the token is in %s, which only you can read\n", output.Clean(t.event), output.Clean(t.Saved))
		default:
			c.Notef("%s; the token is shown this once:", t.event)
			c.Printf("%s\n", t.Token)
			c.warnOfOpenFile()
		}
		if len(t.Renewed) > 0 {
			c.Notef("saved in %s", strings.Join(t.Renewed, " and "))
		}
	})
}

// warnOfOpenFile warns when standard output is a file that others can read.
func (c commands) warnOfOpenFile() {
	outlet, ok := c.Stdout.(*output.Outlet)
	if !ok {
		return
	}
	file, ok := outlet.Writer.(*os.File)
	if !ok {
		return
	}
	if info, err := file.Stat(); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		c.Warnf("others can read the file that the token went to; chmod 600 mends that, and --save FILE makes a private one")
	}
}
