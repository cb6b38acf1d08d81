package function

import (
	"encoding/json"
	"mime"
	"net/http"
	"sort"

	"github.com/picloud/picloud/internal/cli/failure"
	"github.com/picloud/picloud/internal/cli/output"
)

// answer is what a function answered.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// printAnswer writes the body of an answer. With -o json or yaml it writes status and
// headers too.
func (c commands) printAnswer(a answer, include bool) error {
	if !c.ForPeople() {
		if err := c.Print(a.document(), nil); err != nil {
			return err
		}
	} else if err := c.printBody(a, include); err != nil {
		return err
	}
	return c.judge(a.status)
}

// judge returns an error when the status of an answer is 400 or more.
func (c commands) judge(status int) error {
	if status < 400 {
		return nil
	}
	c.Notef("picloud: the function answered %d %s", status, http.StatusText(status))
	return failure.ErrReported
}

func (c commands) printBody(a answer, include bool) error {
	if include {
		c.Printf("%d %s\n", a.status, http.StatusText(a.status))
		names := make([]string, 0, len(a.header))
		for name := range a.header {
			names = append(names, name)
		}
		sort.Strings(names)
		for _, name := range names {
			for _, value := range a.header[name] {
				c.Printf("%s: %s\n", name, output.Clean(value))
			}
		}
		c.Printf("\n")
	}
	if _, err := c.Stdout.Write(a.body); err != nil {
		return err
	}
	if output.Terminal(c.Stdout) && len(a.body) > 0 && a.body[len(a.body)-1] != '\n' {
		c.Printf("\n")
	}
	return nil
}

// document is the answer for programs: JSON bodies as JSON, others as text.
func (a answer) document() any {
	doc := struct {
		Status  int         `json:"status"`
		Headers http.Header `json:"headers"`
		Body    any         `json:"body"`
	}{a.status, a.header, string(a.body)}
	media, _, _ := mime.ParseMediaType(a.header.Get("Content-Type"))
	if media == "application/json" && json.Valid(a.body) {
		doc.Body = json.RawMessage(a.body)
	}
	return doc
}
