package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"go.yaml.in/yaml/v3"
)

// format is how a command prints its result: the value of -o.
type format string

const (
	formatTable format = "" // the zero value, "table" on the command line
	formatJSON  format = "json"
	formatYAML  format = "yaml"
)

// String implements pflag.Value.
func (f *format) String() string {
	if *f == formatTable {
		return "table"
	}
	return string(*f)
}

// Set implements pflag.Value.
func (f *format) Set(s string) error {
	switch s {
	case "table":
		*f = formatTable
	case "json", "yaml":
		*f = format(s)
	default:
		return fmt.Errorf("%q is not table, json or yaml", s)
	}
	return nil
}

// Type implements pflag.Value.
func (f *format) Type() string { return "format" }

// print writes v for a program, or what people writes for a person.
func (c *cli) print(v any, people func()) error {
	switch c.output {
	case formatJSON:
		return c.printJSON(v)
	case formatYAML:
		return c.printYAML(v)
	default:
		people()
		return nil
	}
}

func (c *cli) printJSON(v any) error {
	enc := json.NewEncoder(c.Stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// compact is a value as JSON on one line, as people write it: "a&b" stays so.
func compact(v any) (string, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "", err
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// printYAML goes by way of JSON, so that names and order of the fields are the
// same in both.
func (c *cli) printYAML(v any) error {
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
	_, err = c.Stdout.Write(out.Bytes())
	return err
}

// block takes the braces and quotes of JSON from a document.
func block(n *yaml.Node) {
	n.Style = 0
	for _, child := range n.Content {
		block(child)
	}
}

// printf writes a line of the result for people.
func (c *cli) printf(text string, args ...any) { fmt.Fprintf(c.Stdout, text, args...) }

// warnf writes a warning.
func (c *cli) warnf(text string, args ...any) {
	fmt.Fprintf(c.Stderr, "picloud: warning: "+text+"\n", args...)
}

// notef writes a remark that is not part of the result.
func (c *cli) notef(text string, args ...any) { fmt.Fprintf(c.Stderr, text+"\n", args...) }

// progress shows what is being waited for, on a terminal only. The function
// that it returns takes it away again.
func (c *cli) progress(text string, args ...any) func() {
	if !terminal(c.Stderr) {
		return func() {}
	}
	fmt.Fprintf(c.Stderr, text+" …", args...)
	return func() { fmt.Fprint(c.Stderr, "\r\x1b[K") }
}

// table writes rows under a header.
func (c *cli) table(header string, rows [][]string) {
	w := tabwriter.NewWriter(c.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(strings.Fields(header), "\t"))
	for _, row := range rows {
		for i := range row {
			row[i] = clean(row[i])
		}
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	_ = w.Flush()
}

// ago writes a time as its distance from now.
func (c *cli) ago(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	d := c.Now().Sub(t)
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

// took writes a duration with the precision that people read.
func took(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return "less than 1 ms"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	default:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
}

// plural writes a count with its noun.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// question asks a person for a line.
func (c *cli) question(text string, args ...any) { fmt.Fprintf(c.Stderr, text, args...) }
