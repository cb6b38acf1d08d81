package data

import (
	"bytes"
	"errors"
	"io"
	"mime/multipart"
	"strings"
	"testing"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"
	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/executor/hostcall"
)

// readForm reads a form and lists what it holds, files as name|type|body.
func readForm(contentType, body string) (found []string, err error) {
	f, err := ReadForm(contentType, []byte(body), func(f File) object.Object {
		return object.NewString(f.Name + "|" + f.ContentType + "|" + string(f.Body))
	})
	if err != nil {
		return nil, err
	}
	f.scan(func(n, v part) bool {
		found = append(found, n.decode(), v.object().(*object.String).Value())
		return true
	})
	return found, nil
}

const multi = "multipart/form-data; boundary=XX"

// crlf makes a body of lines.
func crlf(lines ...string) string { return strings.Join(lines, "\r\n") }

func TestForms(t *testing.T) {
	for name, c := range map[string]struct {
		contentType, body string
		want              []string
	}{
		"urlencoded":             {"application/x-www-form-urlencoded; charset=UTF-8", "a=1&b=x+y%2B&a=2&&c", []string{"a", "1", "b", "x y+", "a", "2", "c", ""}},
		"urlencoded, empty":      {"APPLICATION/x-www-form-urlencoded", "", nil},
		"fields and a file":      {multi, crlf("--XX", `Content-Disposition: form-data; name="a"`, "", "1", "--XX", `content-disposition: form-data; name="f"; filename="x.csv"`, "Content-Type: text/csv", "", "a;b\r\n1;2", "--XX--", ""), []string{"a", "1", "f", "x.csv|text/csv|a;b\r\n1;2"}},
		"quoted boundary":        {`multipart/form-data; boundary="X X"`, crlf("--X X", `Content-Disposition: form-data; name=a`, "", "1", "--X X--"), []string{"a", "1"}},
		"preamble and epilogue":  {multi, crlf("hello", "--XX", `Content-Disposition: form-data; name=a`, "", "1", "--XX--", "--XX", "what is this"), []string{"a", "1"}},
		"bare line feeds":        {multi, "--XX\nContent-Disposition: form-data; name=a\n\n1\n--XX--\n", []string{"a", "1"}},
		"empty field":            {multi, crlf("--XX", `Content-Disposition: form-data; name="a"`, "", "", "--XX--"), []string{"a", ""}},
		"no line for no bytes":   {multi, crlf("--XX", `Content-Disposition: form-data; name="a"`, "", "--XX", `Content-Disposition: form-data; name="b"`, "", "--XX--"), []string{"a", "", "b", ""}},
		"no field at all":        {multi, "--XX--\r\n", nil},
		"repeated":               {multi, crlf("--XX", `Content-Disposition: form-data; name="a"`, "", "1", "--XX ", `Content-Disposition: form-data; name="a"`, "", "2", "--XX--"), []string{"a", "1", "a", "2"}},
		"boundary as a prefix":   {multi, crlf("--XX", `Content-Disposition: form-data; name="a"`, "", "--XXX", "a --XX", "--XX--"), []string{"a", "--XXX\r\na --XX"}},
		"no file chosen":         {multi, crlf("--XX", `Content-Disposition: form-data; name="f"; filename=""`, "Content-Type: application/octet-stream", "", "", "--XX--"), nil},
		"an empty file":          {multi, crlf("--XX", `Content-Disposition: form-data; name="f"; filename="a"`, "", "", "--XX--"), []string{"f", "a|application/octet-stream|"}},
		"folders in names":       {multi, crlf("--XX", `Content-Disposition: form-data; name="f"; filename="C:\dir\..\ü.txt"`, "", "x", "--XX", `Content-Disposition: form-data; name="f"; filename="../../etc/passwd"`, "", "y", "--XX--"), []string{"f", "ü.txt|application/octet-stream|x", "f", "passwd|application/octet-stream|y"}},
		"quotes in names":        {multi, crlf("--XX", `Content-Disposition: form-data; name="a\"b"; filename="c\"d"`, "", "x", "--XX--"), []string{`a"b`, `c"d|application/octet-stream|x`}},
		"a form within the form": {multi, crlf("--XX", `Content-Disposition: form-data; name="f"; filename="m"`, "Content-Type: multipart/mixed; boundary=YY", "", "--YY\r\n\r\nz\r\n--YY--", "--XX--"), []string{"f", "m|multipart/mixed; boundary=YY|--YY\r\n\r\nz\r\n--YY--"}},
		"not UTF-8":              {multi, crlf("--XX", `Content-Disposition: form-data; name="a"`, "", "\xff", "--XX--"), []string{"a", "�"}},
	} {
		got, err := readForm(c.contentType, c.body)
		require.NoError(t, err, name)
		require.Equal(t, c.want, got, name)
	}
}

func TestFormsThatCannotBe(t *testing.T) {
	part := crlf("--XX", `Content-Disposition: form-data; name="a"`, "", "1", "")
	for name, c := range map[string]struct{ contentType, body, code, message string }{
		"no type":           {"", "a=1", CodeFormInvalid, "its content type is missing"},
		"JSON":              {"application/json", "{}", CodeFormInvalid, `its content type is "application/json"`},
		"no boundary":       {"multipart/form-data", "--XX--", CodeFormInvalid, "names no usable boundary"},
		"long boundary":     {"multipart/form-data; boundary=" + strings.Repeat("x", 300), "--XX--", CodeFormInvalid, "names no usable boundary"},
		"another boundary":  {multi, "--YY--", CodeFormInvalid, "does not hold the boundary"},
		"empty body":        {multi, "", CodeFormInvalid, "does not hold the boundary"},
		"cut":               {multi, part, CodeFormInvalid, "part 1 of the form ends without the boundary behind it"},
		"cut in the header": {multi, "--XX\r\nContent-Dispo", CodeFormInvalid, "part 1 of the form ends within its headers"},
		"no name":           {multi, crlf("--XX", "Content-Disposition: form-data", "", "1", "--XX--"), CodeFormInvalid, "part 1 of the form names no field"},
		"two names":         {multi, crlf("--XX", `Content-Disposition: form-data; name=a`, `Content-Disposition: form-data; name=b`, "", "1", "--XX--"), CodeFormInvalid, "part 1 of the form has two lines Content-Disposition"},
		"another kind":      {multi, crlf("--XX", "Content-Disposition: attachment; name=a", "", "1", "--XX--"), CodeFormInvalid, "part 1 of the form names no field"},
		"no colon":          {multi, crlf("--XX", "Content-Disposition", "", "1", "--XX--"), CodeFormInvalid, "without a colon"},
		"many fields":       {multi, strings.Repeat(part, MaxFormFields+1) + "--XX--", CodeFormTooLarge, "more than 1000 fields"},
		"many pairs":        {"application/x-www-form-urlencoded", strings.Repeat("a&", MaxFormFields), CodeFormTooLarge, "more than 1000 fields"},
		"long value":        {"application/x-www-form-urlencoded", "b=1&a=" + strings.Repeat("%41", maxFormFieldLen+1), CodeFormTooLarge, `the field "a" of the form has more than`},
		"long header":       {multi, "--XX\r\nX: " + strings.Repeat("x", maxPartHeader) + "\r\n\r\n1\r\n--XX--", CodeFormTooLarge, "bytes of headers"},
		"long field":        {multi, crlf("--XX", `Content-Disposition: form-data; name="a"`, "", strings.Repeat("x", maxFormFieldLen+1), "--XX--"), CodeFormTooLarge, `the field "a" of the form has more than`},
	} {
		_, err := readForm(c.contentType, c.body)
		var coded *hostcall.Error
		require.ErrorAs(t, err, &coded, name)
		require.Equal(t, c.code, coded.Code, name)
		require.Contains(t, coded.Message, c.message, name)
	}
}

// FuzzForm reads foreign forms. What mime/multipart reads without a complaint, we
// read the same.
func FuzzForm(f *testing.F) {
	f.Add([]byte(crlf("--XX", `Content-Disposition: form-data; name="a"`, "", "1", "--XX", `Content-Disposition: form-data; name="f"; filename="x"`, "", "2", "--XX--", "")))
	f.Add([]byte("--XX\nContent-Disposition: form-data; name=a\n\n\n--XX--"))
	f.Add([]byte("x\r\n--XX \r\n\r\n--XX--"))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := readForm(multi, string(body))
		if err != nil {
			var coded *hostcall.Error
			require.ErrorAs(t, err, &coded)
			return
		}
		total := 0
		for _, s := range got {
			total += len(s)
		}
		require.LessOrEqual(t, total, 64+4*len(body))
		if bytes.Count(body, []byte("\n")) != bytes.Count(body, []byte("\r\n")) {
			return // mime/multipart takes the first end of a line for all; we take each as it is
		}
		reader := multipart.NewReader(bytes.NewReader(body), "XX")
		var want []string
		for {
			p, err := reader.NextRawPart()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil || p.FormName() == "" || p.FileName() != "" || strings.Contains(p.Header.Get("Content-Disposition"), "filename") {
				return
			}
			content, err := io.ReadAll(p)
			if err != nil {
				return
			}
			want = append(want, text(p.FormName()), text(string(content)))
		}
		require.Equal(t, want, got, "%q", body)
	})
}
