// Command openapijson writes a YAML document as JSON, without the extensions
// that only the code generators read (x-go-…).
//
//	openapijson openapi.yaml openapi.gen.json
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: openapijson FROM.yaml TO.json")
		os.Exit(2)
	}
	if err := convert(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "openapijson:", err)
		os.Exit(1)
	}
}

func convert(from, to string) error {
	in, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var document any
	if err := yaml.Unmarshal(in, &document); err != nil {
		return fmt.Errorf("read %s: %w", from, err)
	}
	strip(document)
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(document); err != nil {
		return err
	}
	return os.WriteFile(to, out.Bytes(), 0o644)
}

func strip(v any) {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			if strings.HasPrefix(name, "x-go-") {
				delete(v, name)
				continue
			}
			strip(value)
		}
	case []any:
		for _, value := range v {
			strip(value)
		}
	}
}
