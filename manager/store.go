package manager

import (
	"context"
	"time"

	"github.com/picloud/picloud"
)

// Apps says who may do what in which app.
type Apps interface {
	// Get returns the app and the actor's role in it, and ErrNotFound to those who have none.
	Get(ctx context.Context, actor picloud.Actor, name string) (picloud.App, picloud.Role, error)
}

// Functions reads functions.
type Functions interface {
	Get(ctx context.Context, actor picloud.Actor, app, name string) (picloud.Function, error)
}

// Versions keeps code.
type Versions interface {
	// Publish writes function, version and deployment in one transaction that
	// checks the actor's role itself.
	Publish(ctx context.Context, actor picloud.Actor, p picloud.Publication) (picloud.Published, error)
	Source(ctx context.Context, actor picloud.Actor, app, function string, number int) ([]byte, error)
}

// Deployments says which version is live.
type Deployments interface {
	Deploy(ctx context.Context, actor picloud.Actor, app, function string, version int) (picloud.Rollout, error)
	// Rollback deploys version to; 0: one further back than what is live.
	Rollback(ctx context.Context, actor picloud.Actor, app, function string, to int) (picloud.Rollout, error)
}

// Users keeps people and the hashes of their tokens.
type Users interface {
	Create(ctx context.Context, actor picloud.Actor, name string, admin bool, tokenHash []byte) (picloud.User, error)
	SetToken(ctx context.Context, actor picloud.Actor, name string, tokenHash []byte) error
	// ByToken returns the user whose token has the hash, or ErrNotFound.
	ByToken(ctx context.Context, tokenHash []byte) (picloud.User, error)
}

// Compiler compiles a script where it can do no harm. It bounds the time it
// takes, and its errors about the script are *picloud.Error with a Code 11xx.
type Compiler interface {
	Compile(ctx context.Context, source []byte, name string) (picloud.Compiled, error)
}

// Drafter runs a script once, where it can do no harm, as if it were the
// function f's, for at most the given time. It keeps nothing of what the script writes,
// and makes outgoing requests only with net. Log records and effects are valid together
// with an error too.
type Drafter interface {
	Draft(ctx context.Context, f picloud.Function, source []byte, most time.Duration, req picloud.Request, net bool) (picloud.Response, []picloud.LogRecord, picloud.Effects, error)
}

// Fleet knows which nodes serve which revision.
type Fleet interface {
	// Await returns when the nodes that mode asks for ("all", "quorum", "none")
	// serve rev, or when ctx ends, and says in either case who serves it. An
	// error means that it does not know.
	Await(ctx context.Context, rev int64, mode picloud.Wait) (picloud.Acks, error)
}
