package api

import (
	"context"
	"strconv"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/manager"
)

// DeploymentStore reads deployments; manager.Manager makes them.
type DeploymentStore interface {
	Get(ctx context.Context, actor picloud.Actor, app, function string, id int64) (picloud.Deployment, error)
	List(ctx context.Context, actor picloud.Actor, app, function string, page picloud.Page) (items []picloud.Deployment, next string, err error)
}

// ListDeployments answers GET /apps/{app}/functions/{function}/deployments.
func (s *server) ListDeployments(ctx context.Context, r ListDeploymentsRequestObject) (ListDeploymentsResponseObject, error) {
	p, err := page(r.Params.Limit, r.Params.Cursor)
	if err != nil {
		return nil, err
	}
	items, next, err := s.o.Deployments.List(ctx, actor(ctx), r.App, r.Function, p)
	if err != nil {
		return nil, err
	}
	return ListDeployments200JSONResponse{Items: list(items), Next: next}, nil
}

// GetDeployment answers GET /apps/{app}/functions/{function}/deployments/{deployment}.
func (s *server) GetDeployment(ctx context.Context, r GetDeploymentRequestObject) (GetDeploymentResponseObject, error) {
	d, err := s.o.Deployments.Get(ctx, actor(ctx), r.App, r.Function, r.Deployment)
	if err != nil {
		return nil, err
	}
	return GetDeployment200JSONResponse(d), nil
}

// CreateDeployment answers POST /apps/{app}/functions/{function}/deployments.
// The contract has a list of weights, so that traffic can be split later; for
// now it holds the one version that gets all of it.
func (s *server) CreateDeployment(ctx context.Context, r CreateDeploymentRequestObject) (CreateDeploymentResponseObject, error) {
	wait, err := waitMode(r.Params.Wait)
	if err != nil {
		return nil, err
	}
	if len(r.Body.Versions) != 1 {
		return nil, invalid("versions", "must hold exactly one version")
	}
	v := r.Body.Versions[0]
	if v.Weight != nil && *v.Weight != 100 {
		return nil, invalid("versions[0].weight", "must be 100")
	}
	if v.ID < 1 {
		return nil, invalid("versions[0].id", "must be a version's number")
	}
	if err := checkVersion(v.ID); err != nil {
		return nil, err
	}
	d, err := s.o.Manager.Activate(ctx, actor(ctx), r.App, r.Function, v.ID, wait)
	if err != nil {
		return nil, err
	}
	if !d.Acks.Complete {
		return CreateDeployment202JSONResponse(rollout(d)), nil
	}
	return CreateDeployment201JSONResponse{Body: rollout(d), Headers: CreateDeployment201ResponseHeaders{Location: deploymentPath(d.Deployment)}}, nil
}

// Rollback answers POST /apps/{app}/functions/{function}/rollback.
func (s *server) Rollback(ctx context.Context, r RollbackRequestObject) (RollbackResponseObject, error) {
	wait, err := waitMode(r.Params.Wait)
	if err != nil {
		return nil, err
	}
	if r.Body.To < 0 {
		return nil, invalid("to", "must be a version's number")
	}
	if r.Body.To > 0 {
		if err := checkVersion(r.Body.To); err != nil {
			return nil, err
		}
	}
	d, err := s.o.Manager.Rollback(ctx, actor(ctx), r.App, r.Function, r.Body.To, wait)
	if err != nil {
		return nil, err
	}
	if !d.Acks.Complete {
		return Rollback202JSONResponse(rollout(d)), nil
	}
	return Rollback201JSONResponse{Body: rollout(d), Headers: Rollback201ResponseHeaders{Location: deploymentPath(d.Deployment)}}, nil
}

func deploymentPath(d picloud.Deployment) string {
	return appPath(d.App) + "/functions/" + d.Function + "/deployments/" + strconv.FormatInt(d.ID, 10)
}

func rollout(d manager.Rollout) Rollout {
	return Rollout{
		Deployment: d.Deployment, Acks: d.Acks,
		Path: publicPath(d.Deployment.App, d.Deployment.Function), Timings: timings(d.Timings),
	}
}
