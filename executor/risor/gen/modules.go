package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/picloud/picloud/executor/risor/module"
)

// overview lists what there is.
func overview(all []module.Module) string {
	var b strings.Builder
	b.WriteString("\n| Module | Functions |\n|---|---|\n")
	for _, m := range all {
		var names []string
		for _, f := range m.Functions {
			names = append(names, "`"+f.Name+"`")
		}
		fmt.Fprintf(&b, "| [`%s`](#%[1]s) | %s |\n", m.Name, strings.Join(names, " "))
	}
	return b.String() + "\n"
}

// modules documents everything in them.
func modules(all []module.Module) string {
	var b strings.Builder
	b.WriteString("\nErrors that every function has in common, and that are not listed with it:\n\n")
	faults(&b, module.CommonFaults)
	for _, m := range all {
		fmt.Fprintf(&b, "\n### %s\n\n%s\n", m.Name, m.Doc)
		for _, f := range m.Functions {
			function(&b, m.Name, f)
		}
		functions := m.Functions
		for _, t := range m.Types {
			members(&b, t)
			functions = append(functions, t.Members...)
		}
		if found := faultsOf(functions); len(found) > 0 {
			fmt.Fprintf(&b, "\n**Errors of %s**\n\n", m.Name)
			faults(&b, found)
		}
	}
	return b.String() + "\n"
}

// function documents a function or a method.
func function(b *strings.Builder, owner string, f module.Function) {
	fmt.Fprintf(b, "\n#### `%s`\n\n%s", f.Signature(owner), f.Doc)
	if len(f.Errors) > 0 {
		var codes []string
		for _, e := range f.Errors {
			codes = append(codes, "`"+e.Code+"`")
		}
		fmt.Fprintf(b, " Errors: %s.", strings.Join(codes, ", "))
	}
	b.WriteString("\n")
	example(b, f.Example)
}

func example(b *strings.Builder, text string) {
	if text != "" {
		fmt.Fprintf(b, "\n```js\n%s\n```\n", text)
	}
}

// members documents what a type's values have.
func members(b *strings.Builder, t *module.Type) {
	fmt.Fprintf(b, "\n#### The type `%s`\n\n%s\n\n| Read | Type | |\n|---|---|---|\n", t.Name, t.Doc)
	for _, f := range t.Members {
		if f.Value {
			fmt.Fprintf(b, "| `%s.%s` | %s | %s |\n", t.Self, f.Name, cell(f.Returns), cell(f.Doc))
		}
	}
	example(b, t.Example)
	for _, f := range t.Members {
		if !f.Value {
			function(b, t.Self, f)
		}
	}
}

// faultsOf collects the errors of functions, once each.
func faultsOf(functions []module.Function) []module.Fault {
	var all []module.Fault
	for _, f := range functions {
		for _, e := range f.Errors {
			if !slices.ContainsFunc(all, func(have module.Fault) bool { return have.Code == e.Code }) {
				all = append(all, e)
			}
		}
	}
	return all
}

func faults(b *strings.Builder, all []module.Fault) {
	b.WriteString("| Code | When |\n|---|---|\n")
	for _, e := range all {
		fmt.Fprintf(b, "| `%s` | %s |\n", e.Code, cell(e.When))
	}
}

// cell makes text fit into a table.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
