package api

import (
	"context"

	"github.com/picloud/picloud"
)

// UserStore reads and deletes users; manager.Manager creates them, since that
// makes a token.
type UserStore interface {
	Get(ctx context.Context, actor picloud.Actor, name string) (picloud.User, error)
	List(ctx context.Context, actor picloud.Actor, page picloud.Page) (items []picloud.User, next string, err error)
	Delete(ctx context.Context, actor picloud.Actor, name string) error
}

// ListUsers answers GET /users.
func (s *server) ListUsers(ctx context.Context, r ListUsersRequestObject) (ListUsersResponseObject, error) {
	p, err := page(r.Params.Limit, r.Params.Cursor)
	if err != nil {
		return nil, err
	}
	items, next, err := s.o.Users.List(ctx, actor(ctx), p)
	if err != nil {
		return nil, err
	}
	return ListUsers200JSONResponse{Items: list(items), Next: next}, nil
}

// CreateUser answers POST /users. The token is in this answer and nowhere else.
func (s *server) CreateUser(ctx context.Context, r CreateUserRequestObject) (CreateUserResponseObject, error) {
	u, token, err := s.o.Manager.CreateUser(ctx, actor(ctx), r.Body.Name, r.Body.Admin)
	if err != nil {
		return nil, err
	}
	return CreateUser201JSONResponse{
		Body: UserToken{User: u, Token: token}, Headers: CreateUser201ResponseHeaders{Location: "/api/v1/users/" + u.Name},
	}, nil
}

// GetUser answers GET /users/{user}.
func (s *server) GetUser(ctx context.Context, r GetUserRequestObject) (GetUserResponseObject, error) {
	u, err := s.o.Users.Get(ctx, actor(ctx), r.User)
	if err != nil {
		return nil, err
	}
	return GetUser200JSONResponse(u), nil
}

// DeleteUser answers DELETE /users/{user}.
func (s *server) DeleteUser(ctx context.Context, r DeleteUserRequestObject) (DeleteUserResponseObject, error) {
	if err := s.o.Users.Delete(ctx, actor(ctx), r.User); err != nil {
		return nil, err
	}
	return DeleteUser204Response{}, nil
}

// RotateToken answers POST /users/{user}/token.
func (s *server) RotateToken(ctx context.Context, r RotateTokenRequestObject) (RotateTokenResponseObject, error) {
	token, err := s.o.Manager.RotateToken(ctx, actor(ctx), r.User)
	if err != nil {
		return nil, err
	}
	return RotateToken201JSONResponse{Token: token}, nil
}

// GetSession answers GET /session.
func (s *server) GetSession(ctx context.Context, _ GetSessionRequestObject) (GetSessionResponseObject, error) {
	return GetSession200JSONResponse{User: callOf(ctx).user, Node: s.o.Node}, nil
}
