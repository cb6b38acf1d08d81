package api

import (
	"context"
	"mime"
	"slices"
	"strconv"
	"strings"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/manager"
	"github.com/picloud/picloud/manager/api/client"
)

// putCode answers PUT /apps/{app}/functions/{function}/code.
func (a apps) putCode(ctx context.Context, p putCodeParams, body raw) (out answer[client.Deployed], err error) {
	wait, err := waitMode(p.Wait)
	if err != nil {
		return out, err
	}
	source, err := readSource(body)
	if err != nil {
		return out, err
	}
	d, err := a.manager.Deploy(ctx, actor(ctx), manager.DeployRequest{
		App: p.App, Function: p.Function, Source: source, Wait: wait,
		Create: p.Create != nil && *p.Create,
		Deploy: p.Deploy == nil || *p.Deploy,
	})
	if err != nil {
		return out, err
	}
	deployed := client.Deployed{
		Version: d.Version, Existing: d.Existing, Deployment: d.Deployment, Acks: d.Acks,
		Unchanged: d.Unchanged, AppCreated: d.AppCreated,
		Path: publicPath(p.App, p.Function), Timings: timings(d.Timings),
	}
	switch {
	case d.Acks != nil && !d.Acks.Complete:
		return accepted(deployed), nil
	case d.Existing:
		return ok(deployed), nil
	default:
		location := appPath(p.App) + "/functions/" + p.Function + "/versions/" + strconv.Itoa(d.Version.Number)
		return created(location, deployed), nil
	}
}

// validateCode answers POST /apps/{app}/functions/{function}/validate.
func (a apps) validateCode(ctx context.Context, p inFunction, body raw) (out answer[picloud.Compiled], err error) {
	source, err := readSource(body)
	if err != nil {
		return out, err
	}
	compiled, err := a.manager.Validate(ctx, actor(ctx), p.App, p.Function, source)
	if err != nil {
		return out, err
	}
	return ok(compiled), nil
}

// readSource reads a body that is the source itself. A form would arrive with
// its boundaries as code.
func readSource(body raw) ([]byte, error) {
	media, _, _ := mime.ParseMediaType(body.contentType)
	if strings.HasPrefix(media, "multipart/") {
		return nil, &picloud.Error{
			Code: picloud.CodeInvalid, Detail: "the body is a form, not the source itself",
			Hint: "send the file unchanged, for example: curl -T hello.risor",
		}
	}
	return readBody(body.reader)
}

// publicPath is where a function answers on the public listener.
func publicPath(app, function string) string { return "/fn/" + app + "/" + function }

func waitMode(w *client.Wait) (picloud.Wait, error) {
	switch {
	case w == nil:
		return picloud.WaitAll, nil
	case slices.Contains(picloud.Waits, picloud.Wait(*w)):
		return picloud.Wait(*w), nil
	default:
		return "", invalid("wait", "must be all, quorum or none")
	}
}

func timings(t manager.Timings) client.Timings {
	return client.Timings{
		Compile: picloud.Duration(t.Compile), Publish: picloud.Duration(t.Publish),
		Await: picloud.Duration(t.Await), Total: picloud.Duration(t.Total),
	}
}
