package failure

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/cli/output"
)

// document is an error as -o json and -o yaml write it.
type document struct {
	Error      string               `json:"error"` // all of it, in one line
	Code       picloud.Code         `json:"code,omitempty"`
	Hint       string               `json:"hint,omitempty"`
	Fields     []picloud.FieldError `json:"fields,omitempty"`
	Script     *scriptPlace         `json:"script,omitempty"`
	User       string               `json:"user,omitempty"`
	TokenFrom  string               `json:"token_from,omitempty"`
	RetryAfter float64              `json:"retry_after_seconds,omitempty"`
	RequestID  string               `json:"request_id,omitempty"`
	Usage      string               `json:"usage,omitempty"` // of the command, when its use was wrong
	ExitCode   int                  `json:"exit_code"`
}

// scriptPlace is where a script is wrong.
type scriptPlace struct {
	File string `json:"file,omitempty"`
	picloud.ScriptError
}

// PrintAs writes err on standard error as the command's results are written on
// standard output: for a person, or for a program in one line of JSON or as YAML.
func PrintAs(format output.Format, w io.Writer, cmd *cobra.Command, err error) {
	if format == output.Table || err.Error() == "" { // Reported
		Print(w, cmd, err)
		return
	}
	doc := documentOf(cmd, err)
	if format == output.YAML {
		_ = (&output.Printer{Stdout: w}).YAML(doc) // it holds nothing that YAML cannot write
		return
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(doc) // as above
}

func documentOf(cmd *cobra.Command, err error) document {
	doc := document{ExitCode: ExitCode(err)}
	usage, wrong := errors.AsType[*Usage](err)
	if wrong {
		doc.Error, doc.Usage = usage.Message, usage.Cmd.UseLine()
		return doc
	}
	fail, explained := errors.AsType[*Failure](err)
	if e, ok := errors.AsType[*picloud.Error](err); ok && !explained {
		fail, explained = &Failure{Err: e}, true
	}
	if !explained {
		doc.Error = err.Error()
		if cmd != nil && cmd.HasParent() {
			doc.Error = strings.TrimPrefix(cmd.CommandPath(), "picloud ") + ": " + doc.Error
		}
		return doc
	}
	doc.Error, doc.Code, doc.Hint, doc.Fields = fail.text(), fail.Err.Code, fail.Err.Hint, fail.Err.Fields
	doc.RetryAfter, doc.RequestID = fail.Err.RetryAfter.Seconds(), fail.RequestID
	if fail.Err.Script != nil {
		doc.Script = &scriptPlace{fail.File, *fail.Err.Script}
	}
	if fail.Refused {
		doc.User, doc.TokenFrom = cmp.Or(fail.User, fail.Claimed), fail.TokenFrom
	}
	return doc
}
