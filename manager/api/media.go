package api

import (
	"mime"
	"strings"

	"github.com/picloud/picloud"
)

// media is what a body can be when a path takes several kinds.
type media int

const (
	mediaBytes media = iota
	mediaJSON
	mediaText
)

// mediaOf says what a body of a content type is. A form is refused: it is what
// tools send that were not told a type, and would arrive with its escapes.
func mediaOf(contentType string) (media, error) {
	kind, _, _ := mime.ParseMediaType(contentType)
	switch {
	case kind == "application/json" || strings.HasSuffix(kind, "+json"):
		return mediaJSON, nil
	case kind == "text/plain":
		return mediaText, nil
	case kind == "application/x-www-form-urlencoded" || strings.HasPrefix(kind, "multipart/"):
		return 0, &picloud.Error{
			Code: picloud.CodeInvalid, Detail: "the body is a form, not the value",
			Hint: "send the value with its type, for example: curl -T FILE -H 'Content-Type: application/json'",
		}
	default:
		return mediaBytes, nil
	}
}
