package api

import (
	"context"
	"net/http"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/manager"
	"github.com/picloud/picloud/manager/api/client"
)

// MemberStore keeps who has which role in which app. Each change is one
// statement that carries its own checks.
type MemberStore interface {
	Get(ctx context.Context, actor picloud.Actor, app, user string) (picloud.Member, error)
	List(ctx context.Context, actor picloud.Actor, app string, page picloud.Page) (items []picloud.Member, next string, err error)
	// Add never changes a membership that exists: that is CodeExists.
	Add(ctx context.Context, actor picloud.Actor, app, user string, role picloud.Role) (picloud.Member, error)
	// SetRole never makes a membership: none is ErrNotFound.
	SetRole(ctx context.Context, actor picloud.Actor, app, user string, role picloud.Role) (picloud.Member, error)
	Remove(ctx context.Context, actor picloud.Actor, app, user string) error
}

// PeopleStores are the stores of the area people. A token is made by
// manager.Manager, and so is a user, who gets one.
type PeopleStores struct {
	Members MemberStore
	Users   UserStore
}

// people is the area of members, users and the session.
type people struct {
	PeopleStores
	manager *manager.Manager
	node    string
}

type (
	ofMember struct {
		inApp
		ofUser
	}
	listMembersParams struct {
		inApp
		client.ListMembersParams
	}
)

func (a people) operations() []operation {
	const members, users = "/api/v1/apps/{app}/members", "/api/v1/users"
	return []operation{
		on("GET "+members, successes{200: nil}, a.listMembers),
		on("POST "+members, successes{201: {"Location"}}, a.addMember),
		on("GET "+members+"/{user}", successes{200: nil}, a.getMember),
		on("PATCH "+members+"/{user}", successes{200: nil}, a.setMemberRole),
		on("DELETE "+members+"/{user}", successes{204: nil}, a.removeMember),

		on("GET "+users, successes{200: nil}, a.listUsers),
		on("POST "+users, successes{201: {"Location"}}, a.createUser),
		on("GET "+users+"/{user}", successes{200: nil}, a.getUser),
		on("DELETE "+users+"/{user}", successes{204: nil}, a.deleteUser),
		on("POST "+users+"/{user}/token", successes{201: nil}, a.rotateToken),
		on("GET /api/v1/session", successes{200: nil}, a.getSession),
	}
}

// listMembers answers GET /apps/{app}/members.
func (a people) listMembers(ctx context.Context, p listMembersParams, _ none) (out answer[client.MemberList], err error) {
	at, err := page(p.Limit, p.Cursor)
	if err != nil {
		return out, err
	}
	items, next, err := a.Members.List(ctx, actor(ctx), p.App, at)
	if err != nil {
		return out, err
	}
	return ok(client.MemberList{Items: list(items), Next: next}), nil
}

// addMember answers POST /apps/{app}/members.
func (a people) addMember(ctx context.Context, p inApp, body object[client.NewMember]) (out answer[picloud.Member], err error) {
	if err := picloud.CheckName("user", body.value.User); err != nil {
		return out, err
	}
	if err := checkRole(body.value.Role); err != nil {
		return out, err
	}
	m, err := a.Members.Add(ctx, actor(ctx), p.App, body.value.User, body.value.Role)
	if err != nil {
		return out, err
	}
	return created(appPath(m.App)+"/members/"+m.User, m), nil
}

// getMember answers GET /apps/{app}/members/{user}.
func (a people) getMember(ctx context.Context, p ofMember, _ none) (out answer[picloud.Member], err error) {
	m, err := a.Members.Get(ctx, actor(ctx), p.App, p.User)
	if err != nil {
		return out, err
	}
	return ok(m), nil
}

// setMemberRole answers PATCH /apps/{app}/members/{user}.
func (a people) setMemberRole(ctx context.Context, p ofMember, body object[client.MemberPatch]) (out answer[picloud.Member], err error) {
	if err := checkRole(body.value.Role); err != nil {
		return out, err
	}
	m, err := a.Members.SetRole(ctx, actor(ctx), p.App, p.User, body.value.Role)
	if err != nil {
		return out, err
	}
	return ok(m), nil
}

// removeMember answers DELETE /apps/{app}/members/{user}.
func (a people) removeMember(ctx context.Context, p ofMember, _ none) (out answer[nothing], err error) {
	if err := a.Members.Remove(ctx, actor(ctx), p.App, p.User); err != nil {
		return out, err
	}
	return done(), nil
}

func checkRole(r picloud.Role) error {
	if r.Valid() {
		return nil
	}
	return invalid("role", "must be viewer, developer, admin or owner")
}

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
