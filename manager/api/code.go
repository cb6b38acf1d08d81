package api

import (
	"context"
	"io"
	"mime"
	"strconv"
	"strings"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/manager"
)

// PutCode answers PUT /apps/{app}/functions/{function}/code.
func (s *server) PutCode(ctx context.Context, r PutCodeRequestObject) (PutCodeResponseObject, error) {
	wait, err := waitMode(r.Params.Wait)
	if err != nil {
		return nil, err
	}
	source, err := readSource(r.ContentType, r.Body)
	if err != nil {
		return nil, err
	}
	d, err := s.o.Manager.Deploy(ctx, actor(ctx), manager.DeployRequest{
		App: r.App, Function: r.Function, Source: source, Wait: wait,
		Create: r.Params.Create != nil && *r.Params.Create,
		Deploy: r.Params.Deploy == nil || *r.Params.Deploy,
	})
	if err != nil {
		return nil, err
	}
	body := Deployed{
		Version: d.Version, Existing: d.Existing, Deployment: d.Deployment, Acks: d.Acks,
		Path: publicPath(r.App, r.Function), Timings: timings(d.Timings),
	}
	switch {
	case d.Acks != nil && !d.Acks.Complete:
		return PutCode202JSONResponse(body), nil
	case d.Existing:
		return PutCode200JSONResponse(body), nil
	default:
		location := appPath(r.App) + "/functions/" + r.Function + "/versions/" + strconv.Itoa(d.Version.Number)
		return PutCode201JSONResponse{Body: body, Headers: PutCode201ResponseHeaders{Location: location}}, nil
	}
}

// ValidateCode answers POST /apps/{app}/functions/{function}/validate.
func (s *server) ValidateCode(ctx context.Context, r ValidateCodeRequestObject) (ValidateCodeResponseObject, error) {
	source, err := readSource(r.ContentType, r.Body)
	if err != nil {
		return nil, err
	}
	compiled, err := s.o.Manager.Validate(ctx, actor(ctx), r.App, r.Function, source)
	if err != nil {
		return nil, err
	}
	return ValidateCode200JSONResponse(compiled), nil
}

// readSource reads a body that is the source itself. A form would arrive with
// its boundaries as code.
func readSource(contentType string, body io.Reader) ([]byte, error) {
	media, _, _ := mime.ParseMediaType(contentType)
	if strings.HasPrefix(media, "multipart/") {
		return nil, &picloud.Error{
			Code: picloud.CodeInvalid, Detail: "the body is a form, not the source itself",
			Hint: "send the file as it is, for example: curl -T hello.risor",
		}
	}
	return readBody(body)
}

// publicPath is where a function answers on the public listener.
func publicPath(app, function string) string { return "/fn/" + app + "/" + function }

func waitMode(w *Wait) (picloud.Wait, error) {
	switch {
	case w == nil:
		return picloud.WaitAll, nil
	case w.Valid():
		return picloud.Wait(*w), nil
	default:
		return "", invalid("wait", "must be all, quorum or none")
	}
}

func timings(t manager.Timings) Timings {
	return Timings{
		Compile: picloud.Duration(t.Compile), Publish: picloud.Duration(t.Publish),
		Await: picloud.Duration(t.Await), Total: picloud.Duration(t.Total),
	}
}
