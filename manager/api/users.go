package api

import (
	"context"
	"net/http"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/manager/api/client"
)

// UserStore reads and deletes users; manager.Manager creates them, since that
// makes a token.
type UserStore interface {
	Get(ctx context.Context, actor picloud.Actor, name string) (picloud.User, error)
	List(ctx context.Context, actor picloud.Actor, page picloud.Page) (items []picloud.User, next string, err error)
	Delete(ctx context.Context, actor picloud.Actor, name string) error
}

// listUsers answers GET /users.
func (a people) listUsers(ctx context.Context, p client.ListUsersParams, _ none) (out answer[client.UserList], err error) {
	at, err := page(p.Limit, p.Cursor)
	if err != nil {
		return out, err
	}
	items, next, err := a.Users.List(ctx, actor(ctx), at)
	if err != nil {
		return out, err
	}
	return ok(client.UserList{Items: list(items), Next: next}), nil
}

// createUser answers POST /users. The token is in this answer and nowhere else.
func (a people) createUser(ctx context.Context, _ none, body object[client.NewUser]) (out answer[client.UserToken], err error) {
	u, token, err := a.manager.CreateUser(ctx, actor(ctx), body.value.Name, body.value.Admin)
	if err != nil {
		return out, err
	}
	return created("/api/v1/users/"+u.Name, client.UserToken{User: u, Token: token}), nil
}

// getUser answers GET /users/{user}.
func (a people) getUser(ctx context.Context, p ofUser, _ none) (out answer[picloud.User], err error) {
	u, err := a.Users.Get(ctx, actor(ctx), p.User)
	if err != nil {
		return out, err
	}
	return ok(u), nil
}

// deleteUser answers DELETE /users/{user}.
func (a people) deleteUser(ctx context.Context, p ofUser, _ none) (out answer[nothing], err error) {
	if err := a.Users.Delete(ctx, actor(ctx), p.User); err != nil {
		return out, err
	}
	return done(), nil
}

// rotateToken answers POST /users/{user}/token.
func (a people) rotateToken(ctx context.Context, p ofUser, _ none) (out answer[client.NewToken], err error) {
	token, err := a.manager.RotateToken(ctx, actor(ctx), p.User)
	if err != nil {
		return out, err
	}
	return answer[client.NewToken]{status: http.StatusCreated, body: client.NewToken{Token: token}}, nil
}

// getSession answers GET /session.
func (a people) getSession(ctx context.Context, _, _ none) (out answer[client.Session], err error) {
	return ok(client.Session{User: callOf(ctx).user, Node: a.node}), nil
}
