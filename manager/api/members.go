package api

import (
	"context"

	"github.com/picloud/picloud"
)

// MemberStore keeps who has which role in which app. Each change is one
// statement that carries its own checks.
type MemberStore interface {
	MemberReader
	MemberWriter
}

// MemberReader reads memberships.
type MemberReader interface {
	Get(ctx context.Context, actor picloud.Actor, app, user string) (picloud.Member, error)
	List(ctx context.Context, actor picloud.Actor, app string, page picloud.Page) (items []picloud.Member, next string, err error)
}

// MemberWriter changes memberships.
type MemberWriter interface {
	// Add never changes a membership that exists: that is CodeExists.
	Add(ctx context.Context, actor picloud.Actor, app, user string, role picloud.Role) (picloud.Member, error)
	// SetRole never makes a membership: none is ErrNotFound.
	SetRole(ctx context.Context, actor picloud.Actor, app, user string, role picloud.Role) (picloud.Member, error)
	Remove(ctx context.Context, actor picloud.Actor, app, user string) error
}

// ListMembers answers GET /apps/{app}/members.
func (s *server) ListMembers(ctx context.Context, r ListMembersRequestObject) (ListMembersResponseObject, error) {
	p, err := page(r.Params.Limit, r.Params.Cursor)
	if err != nil {
		return nil, err
	}
	items, next, err := s.o.Members.List(ctx, actor(ctx), r.App, p)
	if err != nil {
		return nil, err
	}
	return ListMembers200JSONResponse{Items: list(items), Next: next}, nil
}

// AddMember answers POST /apps/{app}/members.
func (s *server) AddMember(ctx context.Context, r AddMemberRequestObject) (AddMemberResponseObject, error) {
	if err := picloud.CheckName("user", r.Body.User); err != nil {
		return nil, err
	}
	if err := checkRole(r.Body.Role); err != nil {
		return nil, err
	}
	m, err := s.o.Members.Add(ctx, actor(ctx), r.App, r.Body.User, r.Body.Role)
	if err != nil {
		return nil, err
	}
	return AddMember201JSONResponse{Body: m, Headers: AddMember201ResponseHeaders{Location: appPath(m.App) + "/members/" + m.User}}, nil
}

// GetMember answers GET /apps/{app}/members/{user}.
func (s *server) GetMember(ctx context.Context, r GetMemberRequestObject) (GetMemberResponseObject, error) {
	m, err := s.o.Members.Get(ctx, actor(ctx), r.App, r.User)
	if err != nil {
		return nil, err
	}
	return GetMember200JSONResponse(m), nil
}

// SetMemberRole answers PATCH /apps/{app}/members/{user}.
func (s *server) SetMemberRole(ctx context.Context, r SetMemberRoleRequestObject) (SetMemberRoleResponseObject, error) {
	if err := checkRole(r.Body.Role); err != nil {
		return nil, err
	}
	m, err := s.o.Members.SetRole(ctx, actor(ctx), r.App, r.User, r.Body.Role)
	if err != nil {
		return nil, err
	}
	return SetMemberRole200JSONResponse(m), nil
}

// RemoveMember answers DELETE /apps/{app}/members/{user}.
func (s *server) RemoveMember(ctx context.Context, r RemoveMemberRequestObject) (RemoveMemberResponseObject, error) {
	if err := s.o.Members.Remove(ctx, actor(ctx), r.App, r.User); err != nil {
		return nil, err
	}
	return RemoveMember204Response{}, nil
}

func checkRole(r picloud.Role) error {
	if r.Valid() {
		return nil
	}
	return invalid("role", "must be viewer, developer, admin or owner")
}
