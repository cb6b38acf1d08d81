package output

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"go.yaml.in/yaml/v3"
)

// Printer writes what commands say: results on standard output, everything else
// on standard error.
type Printer struct {
	Stdout, Stderr io.Writer
	// Now is the clock of relative times such as "3m ago".
	Now func() time.Time
	// Format is how Print writes a result.
	Format Format
}

// ForPeople reports whether results are written for a person, not for a program.
func (p *Printer) ForPeople() bool { return p.Format == Table }

// Print writes v when a program reads the result. Otherwise it calls people, which writes
// for a person.
func (p *Printer) Print(v any, people func()) error {
	switch p.Format {
	case JSON:
		return p.json(v)
	case YAML:
		return p.YAML(v)
	default:
		people()
		return nil
	}
}

func (p *Printer) json(v any) error {
	enc := json.NewEncoder(p.Stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// YAML writes v as YAML. It converts v to JSON first, so that both have the same fields in
// the same order.
func (p *Printer) YAML(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return err
	}
	block(&doc)
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(&doc); err != nil {
		return err
	}
	_, err = p.Stdout.Write(out.Bytes())
	return err
}

// block removes the style of JSON from a document, so that it is written without braces.
func block(n *yaml.Node) {
	n.Style = 0
	for _, child := range n.Content {
		block(child)
	}
}

// Printf writes a line of the result for people.
func (p *Printer) Printf(text string, args ...any) { fmt.Fprintf(p.Stdout, text, args...) }

// Warnf writes a warning. For programs that read JSON it is a line of JSON, as
// everything on standard error is.
func (p *Printer) Warnf(text string, args ...any) {
	if p.Format == JSON {
		p.line("warning", fmt.Sprintf(text, args...))
		return
	}
	fmt.Fprintf(p.Stderr, "picloud: warning: "+text+"\n", args...)
}

// Notef writes a remark that is not part of the result.
func (p *Printer) Notef(text string, args ...any) {
	if p.Format == JSON {
		p.line("note", strings.TrimPrefix(fmt.Sprintf(text, args...), "picloud: "))
		return
	}
	fmt.Fprintf(p.Stderr, text+"\n", args...)
}

// line writes a line of JSON on standard error.
func (p *Printer) line(kind, text string) {
	if line, err := Compact(map[string]string{kind: text}); err == nil {
		fmt.Fprintln(p.Stderr, line)
	}
}

// Progress shows on a terminal what the command waits for. The function that it returns
// removes the text.
func (p *Printer) Progress(text string, args ...any) func() {
	if !Terminal(p.Stderr) {
		return func() {}
	}
	fmt.Fprintf(p.Stderr, text+" …", args...)
	return func() { fmt.Fprint(p.Stderr, "\r\x1b[K") }
}

// Table writes rows under a header.
func (p *Printer) Table(header string, rows [][]string) {
	w := tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(strings.Fields(header), "\t"))
	for _, row := range rows {
		for i := range row {
			row[i] = Clean(row[i])
		}
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	_ = w.Flush()
}

// Ago says how long ago a time was.
func (p *Printer) Ago(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	d := p.Now().Sub(t)
	switch {
	case d < time.Second:
		return "now"
	case d < time.Minute:
		return fmt.Sprintf("%ds ago", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh ago", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd ago", int(d.Hours()/24))
	}
}

// EndLine ends the line of a question when no newline was typed or shown.
func (p *Printer) EndLine() { fmt.Fprintln(p.Stderr) }

// Question asks a person for a line.
func (p *Printer) Question(text string, args ...any) { fmt.Fprintf(p.Stderr, text, args...) }
