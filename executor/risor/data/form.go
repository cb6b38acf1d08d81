package data

import (
	"bytes"
	"mime"
	"slices"
	"strings"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"

	"github.com/picloud/picloud/executor/hostcall"
)

// The bounds of a form.
const (
	MaxFormFields   = 1000    // fields and files together
	maxPartHeader   = 8 << 10 // the header lines of one part, in bytes
	maxBoundary     = 200     // bytes; RFC 2046 has at most 70
	maxFormFieldLen = 1 << 20 // the value of a field that is no file, in bytes
)

// The codes of a form that cannot be read.
const (
	CodeFormInvalid  = "form_invalid"
	CodeFormTooLarge = "form_too_large"
)

// File is a file that a form holds. Its name has no folders.
type File struct {
	Field       string // the name of the field
	Name        string // as the sender names the file, without folders
	ContentType string // as the sender says; application/octet-stream if it says none
	Body        []byte // aliases the form's body
}

// ReadForm reads the body of a form. The content type tells its format:
// application/x-www-form-urlencoded or multipart/form-data (RFC 7578). Each file becomes
// the value that object makes of it. Errors have a code.
func ReadForm(contentType string, body []byte, file func(File) object.Object) (*Fields, error) {
	media, parameters, err := mime.ParseMediaType(contentType)
	switch {
	case media == "application/x-www-form-urlencoded":
		if n := bytes.Count(body, []byte("&")); n >= MaxFormFields {
			return nil, tooManyFields()
		}
		for pair := range bytes.SplitSeq(body, []byte("&")) {
			name, value, _ := bytes.Cut(pair, []byte("="))
			if len(value)-2*bytes.Count(value, []byte("%")) > maxFormFieldLen { // three bytes stand for one
				return nil, longField(Shorten(string(name), 80))
			}
		}
		return NewQuery(body), nil
	case media != "multipart/form-data":
		return nil, hostcall.Errorf(CodeFormInvalid, "the request is not a form: its content type is %s", quotedOrNone(contentType))
	case err != nil || parameters["boundary"] == "" || len(parameters["boundary"]) > maxBoundary:
		return nil, hostcall.Errorf(CodeFormInvalid, "the content type of the form names no usable boundary between its parts")
	}
	r := formReader{rest: body, delimiter: []byte("--" + parameters["boundary"]), file: file}
	if err := r.read(); err != nil {
		return nil, err
	}
	return &Fields{form: r.parts}, nil
}

func quotedOrNone(contentType string) string {
	if contentType == "" {
		return "missing"
	}
	return `"` + Shorten(strings.ToValidUTF8(contentType, "�"), 100) + `"`
}

func tooManyFields() error {
	return hostcall.Errorf(CodeFormTooLarge, "the form has more than %d fields", MaxFormFields)
}

func longField(name string) error {
	return hostcall.Errorf(CodeFormTooLarge, "the field %q of the form has more than %d bytes, and is not a file", name, maxFormFieldLen)
}

// formReader reads the parts of a body of type multipart/form-data. Parts are not
// taken apart any further: a part that is of type multipart itself is a file.
type formReader struct {
	rest      []byte
	delimiter []byte // with its two hyphens
	file      func(File) object.Object
	parts     []part // name, value, name, value, …
}

func (r *formReader) read() error {
	if _, found := r.upTo(); !found {
		return hostcall.Errorf(CodeFormInvalid, "the body of the form does not hold the boundary that its content type names")
	}
	for {
		if r.ends() {
			return nil
		}
		if len(r.parts) >= 2*MaxFormFields {
			return tooManyFields()
		}
		disposition, contentType, err := r.partHeader()
		if err != nil {
			return err
		}
		content, found := r.upTo()
		if !found {
			return r.fault("ends without the boundary behind it")
		}
		if err := r.part(disposition, contentType, content); err != nil {
			return err
		}
	}
}

// fault says what is wrong with the part that is being read.
func (r *formReader) fault(what string) error {
	return hostcall.Errorf(CodeFormInvalid, "part %d of the form %s", 1+len(r.parts)/2, what)
}

// upTo returns what stands before the next line that begins with the delimiter, and
// leaves the reader behind the delimiter. The rest always begins with a line. It can be
// the delimiter's own: some senders write no line for a part without content.
func (r *formReader) upTo() (before []byte, found bool) {
	for at := 0; ; {
		i := bytes.Index(r.rest[at:], r.delimiter)
		if i < 0 {
			return nil, false
		}
		i += at
		end := i + len(r.delimiter)
		if (i == 0 || r.rest[i-1] == '\n') && endsDelimiter(r.rest[end:]) {
			before = r.rest[:max(0, i-1)]
			before = bytes.TrimSuffix(before, []byte("\r"))
			r.rest = r.rest[end:]
			return slices.Clip(before), true
		}
		at = i + 1
	}
}

// endsDelimiter reports whether a delimiter ends here: two hyphens for the last one,
// or the end of the line.
func endsDelimiter(b []byte) bool {
	if bytes.HasPrefix(b, []byte("--")) {
		return true
	}
	b = bytes.TrimLeft(b, " \t")
	return bytes.HasPrefix(b, []byte("\r\n")) || bytes.HasPrefix(b, []byte("\n"))
}

// ends reads what stands behind a delimiter, and reports whether it was the last.
func (r *formReader) ends() bool {
	if bytes.HasPrefix(r.rest, []byte("--")) {
		return true // what follows counts for nothing
	}
	_, r.rest, _ = bytes.Cut(r.rest, []byte("\n"))
	return false
}

// partHeader reads the header lines of a part and the empty line behind them.
func (r *formReader) partHeader() (disposition, contentType string, err error) {
	for size := 0; ; {
		line, rest, found := bytes.Cut(r.rest, []byte("\n"))
		if size += len(line) + 1; size > maxPartHeader {
			return "", "", hostcall.Errorf(CodeFormTooLarge, "a part of the form has more than %d bytes of headers", maxPartHeader)
		}
		if !found {
			return "", "", r.fault("ends within its headers")
		}
		r.rest = rest
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 {
			return disposition, contentType, nil
		}
		name, value, found := strings.Cut(string(line), ":")
		if !found {
			return "", "", r.fault("has a header line without a colon")
		}
		switch value = strings.TrimSpace(value); strings.ToLower(strings.TrimSpace(name)) {
		case "content-disposition":
			if disposition != "" { // readers in front of this one may take the other
				return "", "", r.fault("has two lines Content-Disposition")
			}
			disposition = value
		case "content-type":
			contentType = value
		}
	}
}

// part keeps a field or a file. A field for files in which none was chosen is left out.
func (r *formReader) part(disposition, contentType string, content []byte) error {
	kind, parameters, err := mime.ParseMediaType(disposition)
	name, named := parameters["name"]
	if err != nil || kind != "form-data" || !named {
		return r.fault("names no field: its Content-Disposition is form-data with a name")
	}
	filename, isFile := parameters["filename"]
	switch {
	case !isFile && len(content) > maxFormFieldLen:
		return longField(Shorten(name, 80))
	case !isFile:
		r.parts = append(r.parts, part{raw: []byte(name)}, part{raw: content})
		return nil
	case filename == "" && len(content) == 0:
		return nil
	}
	f := File{Field: text(name), Name: baseName(text(filename)), ContentType: text(contentType), Body: content}
	if f.ContentType == "" {
		f.ContentType = "application/octet-stream"
	}
	r.parts = append(r.parts, part{raw: []byte(name)}, part{file: r.file(f)})
	return nil
}

// baseName is a file's name without the folders that some senders put before it, and
// without control characters.
func baseName(name string) string {
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return -1
		}
		return c
	}, name)
}

func text(s string) string { return strings.ToValidUTF8(s, "�") }
