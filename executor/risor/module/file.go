package module

import (
	"fmt"
	"sync"
	"unicode/utf8"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"

	"github.com/picloud/picloud/executor/hostcall"
	"github.com/picloud/picloud/executor/risor/data"
)

// file is a file of a form.
type file struct {
	readonly
	data.File
}

var (
	_ object.Object = (*file)(nil)
	_ data.Mapped   = (*file)(nil)
)

// NewFile makes the value that scripts see of a file of a form.
func NewFile(f data.File) object.Object { return &file{File: f} }

// AsMap implements data.Mapped: the file as data, without its bytes.
func (f *file) AsMap() *object.Map {
	m := map[string]object.Object{}
	for _, member := range fileType().Members {
		if member.Value && member.Name != "body" {
			m[member.Name], _ = f.GetAttr(member.Name)
		}
	}
	return object.NewMap(m)
}

// Type implements object.Object.
func (f *file) Type() object.Type { return "file" }

// Inspect implements object.Object.
func (f *file) Inspect() string { return fmt.Sprintf("file(%q, %d bytes)", f.Name, len(f.Body)) }

// Interface implements object.Object.
func (f *file) Interface() any { return f.Inspect() }

// Equals implements object.Object.
func (f *file) Equals(other object.Object) bool { return f == other }

// Attrs implements object.Object.
func (f *file) Attrs() []object.AttrSpec { return fileType().specs() }

// GetAttr implements object.Object.
func (f *file) GetAttr(name string) (object.Object, bool) { return fileType().attr(f, name) }

var fileType = sync.OnceValue(func() *Type {
	value := func(name, returns, doc string, get func(*file) object.Object) Function {
		return Function{Name: name, Returns: returns, Doc: doc, Value: true, call: func(a *arguments) (object.Object, error) {
			return get(a.self.(*file)), nil
		}}
	}
	return &Type{
		Name: "file",
		Self: "f",
		Doc: "A file that `req.form()` found. What the sender says about it, its name and its content type, is only a hint: check the bytes before you rely on it. " +
			"As data (JSON, logs) it is everything but its bytes.",
		Members: []Function{
			value("name", "string", "the name of the field", func(f *file) object.Object { return object.NewString(f.Field) }),
			value("filename", "string", "the name of the file as the sender has it, without folders; it can be empty", func(f *file) object.Object { return object.NewString(f.Name) }),
			value("content_type", "string", "what the sender says that it is, else `application/octet-stream`", func(f *file) object.Object { return object.NewString(f.ContentType) }),
			value("size", "int", "the number of bytes", func(f *file) object.Object { return object.NewInt(int64(len(f.Body))) }),
			value("body", "bytes", "the bytes", func(f *file) object.Object { return object.NewBytes(f.Body) }),
			{
				Name: "text", Returns: "string", Doc: "The bytes as a string.",
				Errors: []Fault{{"invalid_utf8", "the file is not UTF-8; `body` has its bytes"}},
				call: func(a *arguments) (object.Object, error) {
					f := a.self.(*file)
					if !utf8.Valid(f.Body) {
						return nil, hostcall.Errorf("invalid_utf8", "the file %q is not UTF-8; its bytes are in body", data.Shorten(f.Name, 80))
					}
					return object.NewString(string(f.Body)), nil
				},
			},
		},
		Example: example(`let f = req.form().report`, `[f.name, f.filename, f.content_type, f.size]   // → ["report","tea.csv","text/csv",8]`,
			`f.text().split("\n")[0]                        // → "id,name"`, `f                                              // → {"content_type":"text/csv","filename":"tea.csv","name":"report","size":8}`),
	}
})
