package api

import (
	"context"
	"strconv"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/manager"
	"github.com/picloud/picloud/manager/api/client"
)

// DeploymentStore reads deployments; manager.Manager makes them.
type DeploymentStore interface {
	Get(ctx context.Context, actor picloud.Actor, app, function string, id int64) (picloud.Deployment, error)
	List(ctx context.Context, actor picloud.Actor, app, function string, page picloud.Page) (items []picloud.Deployment, next string, err error)
}

// listDeployments answers GET /apps/{app}/functions/{function}/deployments.
func (a apps) listDeployments(ctx context.Context, p listDeploymentsParams, _ none) (out answer[client.DeploymentList], err error) {
	at, err := page(p.Limit, p.Cursor)
	if err != nil {
		return out, err
	}
	items, next, err := a.Deployments.List(ctx, actor(ctx), p.App, p.Function, at)
	if err != nil {
		return out, err
	}
	return ok(client.DeploymentList{Items: list(items), Next: next}), nil
}

// getDeployment answers GET /apps/{app}/functions/{function}/deployments/{deployment}.
func (a apps) getDeployment(ctx context.Context, p inDeployment, _ none) (out answer[picloud.Deployment], err error) {
	d, err := a.Deployments.Get(ctx, actor(ctx), p.App, p.Function, p.Deployment)
	if err != nil {
		return out, err
	}
	return ok(d), nil
}

// createDeployment answers POST /apps/{app}/functions/{function}/deployments.
// The contract has a list of weights, so that traffic can be split later; for
// now it holds the one version that gets all of it.
func (a apps) createDeployment(ctx context.Context, p createDeploymentParams, body object[client.NewDeployment]) (out answer[client.Rollout], err error) {
	wait, err := waitMode(p.Wait)
	if err != nil {
		return out, err
	}
	if len(body.value.Versions) != 1 {
		return out, invalid("versions", "must hold exactly one version")
	}
	v := body.value.Versions[0]
	if v.Weight != nil && *v.Weight != 100 {
		return out, invalid("versions[0].weight", "must be 100")
	}
	if v.ID < 1 {
		return out, invalid("versions[0].id", "must be a version's number")
	}
	d, err := a.manager.Activate(ctx, actor(ctx), p.App, p.Function, v.ID, wait)
	if err != nil {
		return out, err
	}
	if !d.Acks.Complete {
		return accepted(rollout(d)), nil
	}
	return created(deploymentPath(d.Deployment), rollout(d)), nil
}

// rollback answers POST /apps/{app}/functions/{function}/rollback.
func (a apps) rollback(ctx context.Context, p rollbackParams, body optional[client.NewRollback]) (out answer[client.Rollout], err error) {
	wait, err := waitMode(p.Wait)
	if err != nil {
		return out, err
	}
	if body.value.To < 0 {
		return out, invalid("to", "must be a version's number")
	}
	d, err := a.manager.Rollback(ctx, actor(ctx), p.App, p.Function, body.value.To, wait)
	if err != nil {
		return out, err
	}
	if !d.Acks.Complete {
		return accepted(rollout(d)), nil
	}
	return created(deploymentPath(d.Deployment), rollout(d)), nil
}

func deploymentPath(d picloud.Deployment) string {
	return appPath(d.App) + "/functions/" + d.Function + "/deployments/" + strconv.FormatInt(d.ID, 10)
}

func rollout(d manager.Rollout) client.Rollout {
	return client.Rollout{
		Deployment: d.Deployment, Unchanged: d.Unchanged, RollbackTo: d.RollbackTo, Acks: d.Acks,
		Path: publicPath(d.App, d.Function), Timings: timings(d.Timings),
	}
}
