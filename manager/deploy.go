package manager

import (
	"context"
	"errors"
	"time"

	"github.com/picloud/picloud"
)

// DeployRequest asks for a script to become a version.
type DeployRequest struct {
	App      string
	Function string
	Source   []byte
	Create   bool // make the function when there is none; for admins the app too
	Deploy   bool // make the version live
	Wait     picloud.Wait
}

// Deployed is what a deploy led to.
type Deployed struct {
	picloud.Published
	Acks    *picloud.Acks // nil when nothing was made live
	Timings Timings
}

// Timings says where the time of a deploy went.
type Timings struct {
	Compile, Publish, Await, Total time.Duration
}

// Deploy compiles a script, publishes it in one transaction, and waits until
// the nodes serve it. A script that does not compile changes nothing; once the
// transaction is committed, Deploy succeeds whatever the nodes do, and Acks
// says what they did.
func (m *Manager) Deploy(ctx context.Context, actor picloud.Actor, r DeployRequest) (Deployed, error) {
	const op = "deploy function"
	resource := r.App + "/" + r.Function
	start := time.Now()
	if err := checkSource(op, resource, r.Source); err != nil {
		return Deployed{}, err
	}
	if err := m.checkDeployer(ctx, op, actor, r.App, r.Create); err != nil {
		return Deployed{}, err
	}
	var d Deployed
	compiled, err := m.o.Compiler.Compile(ctx, r.Source, resource)
	if err != nil {
		return Deployed{}, err
	}
	if err := checkHandlers(op, resource, compiled); err != nil {
		return Deployed{}, err
	}
	d.Timings.Compile = time.Since(start)

	published := time.Now()
	d.Published, err = m.o.Versions.Publish(ctx, actor, picloud.Publication{
		App: r.App, Function: r.Function, Source: r.Source, Create: r.Create, Deploy: r.Deploy,
	})
	if err != nil {
		return Deployed{}, err
	}
	d.Timings.Publish = time.Since(published)

	if d.Deployment != nil {
		awaited := time.Now()
		acks := m.Await(ctx, d.Deployment.Rev, r.Wait)
		d.Acks, d.Timings.Await = &acks, time.Since(awaited)
	}
	d.Timings.Total = time.Since(start)
	return d, nil
}

// checkDeployer keeps strangers away from the compiler. It decides nothing
// else: the transaction that publishes checks for itself.
func (m *Manager) checkDeployer(ctx context.Context, op string, actor picloud.Actor, app string, create bool) error {
	err := m.checkDeveloper(ctx, op, actor, app)
	if errors.Is(err, picloud.ErrNotFound) && create && actor.Admin {
		return nil
	}
	return err
}

// checkDeveloper refuses an actor who is not a developer of the app.
func (m *Manager) checkDeveloper(ctx context.Context, op string, actor picloud.Actor, app string) error {
	_, role, err := m.o.Apps.Get(ctx, actor, app)
	if err != nil {
		return err
	}
	if !role.Includes(picloud.RoleDeveloper) {
		return &picloud.Error{
			Code: picloud.CodeForbidden, Op: op, Resource: app,
			Detail: "this needs the developer role and you are " + string(role),
			Hint:   "ask an admin or owner of the app",
		}
	}
	return nil
}
