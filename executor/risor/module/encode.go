package module

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html"
	"strings"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"

	"github.com/picloud/picloud/executor/hostcall"
)

func base64Module() Module {
	variant := Arg{Name: "variant", Type: "string", Optional: true}
	return Module{
		Name: "base64",
		Doc:  "Base64 (RFC 4648). Variants: `std` (the default, with `+`, `/` and padding), `url` (with `-`, `_` and padding), `rawstd` and `rawurl` (without padding).",
		Functions: []Function{
			{
				Name: "encode", Args: []Arg{{Name: "data", Type: "string|bytes"}, variant}, Returns: "string",
				Doc:     "Bytes as text.",
				Errors:  []Fault{{"too_large", "the text would have more than 64 MiB"}},
				Example: example(`base64.encode("hi?>")             // → "aGk/Pg=="`, `base64.encode("hi?>", "url")      // → "aGk_Pg=="`, `base64.encode("hi?>", "rawurl")   // → "aGk_Pg"`),
				call: func(a *arguments) (object.Object, error) {
					data, coding := a.data(0), a.base64(1)
					if coding == nil {
						return nil, a.fault
					}
					if coding.EncodedLen(len(data)) > maxText {
						return nil, textTooLarge("the text")
					}
					return object.NewString(coding.EncodeToString(data)), nil
				},
			},
			{
				Name: "decode", Args: []Arg{{Name: "text", Type: "string|bytes"}, variant}, Returns: "bytes",
				Doc:     "Text as bytes, padded or not. Line breaks are ignored.",
				Errors:  []Fault{{"base64_invalid", "the text is not valid Base64; the message says where"}},
				Example: example(`string(base64.decode("aGk/Pg=="))        // → "hi?>"`, `string(base64.decode("aGk_Pg", "url"))   // → "hi?>"`, `base64.decode("a!")                      // → error base64_invalid`),
				call: func(a *arguments) (object.Object, error) {
					text, coding := a.data(0), a.base64(1)
					if coding == nil {
						return nil, a.fault
					}
					text = []byte(strings.TrimRight(string(text), "=\r\n"))
					b := make([]byte, coding.DecodedLen(len(text))+3)
					n, err := coding.WithPadding(base64.NoPadding).Decode(b, text)
					if err != nil {
						return nil, hostcall.Errorf("base64_invalid", "the text is not Base64: %s", err.Error())
					}
					return object.NewBytes(b[:n:n]), nil
				},
			},
		},
	}
}

// base64 reads the variant; nil when there is none of that name.
func (a *arguments) base64(i int) *base64.Encoding {
	switch a.textOr(i, "std") {
	case "std":
		return base64.StdEncoding
	case "url":
		return base64.URLEncoding
	case "rawstd":
		return base64.RawStdEncoding
	case "rawurl":
		return base64.RawURLEncoding
	}
	_ = a.wrong(i, "std, url, rawstd or rawurl")
	return nil
}

func hexModule() Module {
	return Module{
		Name: "hex",
		Doc:  "Bytes in hexadecimal.",
		Functions: []Function{
			{
				Name: "encode", Args: []Arg{{Name: "data", Type: "string|bytes"}}, Returns: "string",
				Doc:     "Bytes as text, in lower case.",
				Errors:  []Fault{{"too_large", "the text would have more than 64 MiB"}},
				Example: `hex.encode("hi!")   // → "686921"`,
				call: func(a *arguments) (object.Object, error) {
					data := a.data(0)
					if len(data) > maxText/2 {
						return nil, textTooLarge("the text")
					}
					return object.NewString(hex.EncodeToString(data)), nil
				},
			},
			{
				Name: "decode", Args: []Arg{{Name: "text", Type: "string|bytes"}}, Returns: "bytes",
				Doc:     "Text as bytes, in lower or upper case.",
				Errors:  []Fault{{"hex_invalid", "the text holds another character, or an odd number of digits"}},
				Example: example(`string(hex.decode("686921"))   // → "hi!"`, `hex.decode("68692")            // → error hex_invalid`),
				call: func(a *arguments) (object.Object, error) {
					text := a.data(0)
					b := make([]byte, len(text)/2)
					if _, err := hex.Decode(b, text); err != nil {
						return nil, hostcall.Errorf("hex_invalid", "the text is not hexadecimal: %s", strings.TrimPrefix(err.Error(), "encoding/hex: "))
					}
					return object.NewBytes(b), nil
				},
			},
		},
	}
}

func htmlModule() Module {
	text := []Arg{{Name: "text", Type: "string"}}
	return Module{
		Name: "html",
		Doc:  "Text in HTML.",
		Functions: []Function{
			{
				Name: "escape", Args: text, Returns: "string",
				Doc:     "Make text safe in an element or a quoted attribute: `<`, `>`, `&`, `\"` and `'` become entities. This does not make text safe in scripts, styles and URLs.",
				Errors:  []Fault{{"too_large", "the text would have more than 64 MiB"}},
				Example: `html.escape("<a href=\"x\">Q&A</a>")   // → "&lt;a href=&#34;x&#34;&gt;Q&amp;A&lt;/a&gt;"`,
				call: func(a *arguments) (object.Object, error) {
					s := a.text(0)
					grown := len(s)
					for i := range len(s) {
						switch s[i] {
						case '&', '"', '\'':
							grown += 4
						case '<', '>':
							grown += 3
						}
					}
					if grown > maxText {
						return nil, textTooLarge("the text")
					}
					return object.NewString(html.EscapeString(s)), nil
				},
			},
			{
				Name: "unescape", Args: text, Returns: "string",
				Doc:     "Replace entities by the characters that they stand for.",
				Example: `html.unescape("caf&eacute; &amp; t&#101;a")   // → "café & tea"`,
				call: func(a *arguments) (object.Object, error) {
					s := a.text(0)
					if len(s) > maxText {
						return nil, textTooLarge(fmt.Sprintf("a text of %d bytes", len(s)))
					}
					return object.NewString(html.UnescapeString(s)), nil
				},
			},
		},
	}
}
