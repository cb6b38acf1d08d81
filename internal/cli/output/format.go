package output

import "fmt"

// Format is how a command prints its result: the value of -o.
type Format string

// The formats.
const (
	Table Format = "" // the zero value, "table" on the command line
	JSON  Format = "json"
	YAML  Format = "yaml"
)

// String implements pflag.Value.
func (f *Format) String() string {
	if *f == Table {
		return "table"
	}
	return string(*f)
}

// Set implements pflag.Value.
func (f *Format) Set(s string) error {
	switch s {
	case "table":
		*f = Table
	case "json", "yaml":
		*f = Format(s)
	default:
		return fmt.Errorf("%q is not table, json or yaml", s)
	}
	return nil
}

// Type implements pflag.Value.
func (f *Format) Type() string { return "format" }
