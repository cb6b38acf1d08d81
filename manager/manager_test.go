package manager

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/picloud/picloud"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const source = "function handle(req) { return 1 }"

// world stands in for database, executors and fleet, and writes down in which
// order it is used.
type world struct {
	role     picloud.Role
	roleErr  error
	compiled error
	noted    []string
	wait     time.Duration // what Await takes; it ends with its context
	draft    error
	unsealed error    // what the Sealer fails with
	dataKeys []string // that are in effect, one after the other; the last one stays
	kept     []string
	live     picloud.Function
	awaitErr error
}

func (w *world) note(s string) { w.noted = append(w.noted, s) }

type (
	apps        struct{ *world }
	functions   struct{ *world }
	versions    struct{ *world }
	deployments struct{ *world }
	users       struct{ *world }
	secrets     struct{ *world }
)

func (w apps) Get(context.Context, picloud.Actor, string) (picloud.App, picloud.Role, error) {
	w.note("role")
	return picloud.App{}, w.role, w.roleErr
}

func (w functions) Get(context.Context, picloud.Actor, string, string) (picloud.Function, error) {
	return w.live, nil
}

func (w versions) Publish(_ context.Context, _ picloud.Actor, p picloud.Publication) (picloud.Published, error) {
	w.note("publish")
	out := picloud.Published{Version: picloud.Version{Number: 1}}
	if p.Deploy {
		out.Deployment = &picloud.Deployment{Rev: 7}
	}
	return out, nil
}

func (w versions) Source(context.Context, picloud.Actor, string, string, int) ([]byte, error) {
	return []byte(source), nil
}

func (w deployments) Deploy(context.Context, picloud.Actor, string, string, int) (picloud.Rollout, error) {
	w.note("deploy")
	return picloud.Rollout{Deployment: picloud.Deployment{Rev: 8}}, nil
}

func (w deployments) Rollback(context.Context, picloud.Actor, string, string, int) (picloud.Rollout, error) {
	return picloud.Rollout{}, &picloud.Error{Code: picloud.CodeConflict}
}

func (w users) Create(_ context.Context, _ picloud.Actor, name string, admin bool, hash []byte) (picloud.User, error) {
	w.note(string(hash))
	return picloud.User{Name: name, Admin: admin}, nil
}

func (w users) SetToken(context.Context, picloud.Actor, string, []byte) error {
	return &picloud.Error{Code: picloud.CodeNotFound}
}

func (w users) ByToken(context.Context, []byte) (picloud.User, error) {
	w.note("by token")
	return picloud.User{}, &picloud.Error{Code: picloud.CodeNotFound}
}

func (w secrets) DataKey(_ context.Context, _ picloud.Actor, _ string, fresh []byte) ([]byte, error) {
	w.note("key")
	if len(w.dataKeys) == 0 {
		w.dataKeys = []string{string(fresh)}
	}
	return []byte(w.dataKeys[0]), nil
}

// secretRev is the revision of each secret that is put.
const secretRev = 11

func (w secrets) Put(_ context.Context, _ picloud.Actor, app, name string, sealed, wrapped []byte) (int64, error) {
	w.note("put")
	if len(w.dataKeys) > 1 { // it is replaced just now
		w.dataKeys = w.dataKeys[1:]
	}
	if string(wrapped) != w.dataKeys[0] {
		return 0, &picloud.Error{Code: picloud.CodeConflict}
	}
	w.kept = append(w.kept, app+"/"+name+"="+string(sealed))
	return secretRev, nil
}

func (w *world) FreshKey(app string) ([]byte, error) {
	return []byte("fresh key of " + app), w.unsealed
}

func (w *world) Seal(_, _ string, wrapped, value []byte) ([]byte, error) {
	w.note("seal")
	return []byte(string(wrapped) + ":" + strconv.Itoa(len(value))), w.unsealed
}

func (w *world) Compile(context.Context, []byte, string) (picloud.Compiled, error) {
	w.note("compile")
	return picloud.Compiled{Handlers: []string{"handle"}}, w.compiled
}

func (w *world) Draft(_ context.Context, f picloud.Function, _ []byte, most time.Duration, _ picloud.Request, net bool) (picloud.Response, []picloud.LogRecord, picloud.Effects, error) {
	w.note("draft " + min(time.Duration(f.Settings.Limits.WithDefaults().Timeout), most).String())
	return picloud.Response{}, []picloud.LogRecord{{Message: "x"}}, picloud.Effects{Requests: []picloud.OutboundRequest{{Sent: net}}}, w.draft
}

func (w *world) Await(ctx context.Context, rev int64, mode picloud.Wait) (picloud.Acks, error) {
	w.note("await " + string(mode))
	if w.awaitErr != nil {
		return picloud.Acks{Complete: true}, w.awaitErr
	}
	select {
	case <-time.After(w.wait):
		return picloud.Acks{Rev: rev, Nodes: []string{"pi-1"}, Complete: true}, nil
	case <-ctx.Done():
		return picloud.Acks{Missing: []string{"pi-2"}}, ctx.Err()
	}
}

func (w *world) manager(t *testing.T) *Manager {
	t.Helper()
	m, err := New(Options{
		Apps: apps{w}, Functions: functions{w}, Versions: versions{w}, Deployments: deployments{w}, Users: users{w},
		Secrets: secrets{w}, Sealer: w, Compiler: w, Drafter: w, Fleet: w, AwaitTimeout: 50 * time.Millisecond,
	})
	require.NoError(t, err)
	return m
}

func TestNewNamesWhatIsMissing(t *testing.T) {
	w := &world{}
	_, err := New(Options{Apps: apps{w}, Functions: functions{w}, Versions: versions{w}, Deployments: deployments{w}, Users: users{w}, Secrets: secrets{w}, Compiler: w, Fleet: w})
	require.EqualError(t, err, "new manager: Options.Drafter is nil")
}

func TestDeployGoesStepByStep(t *testing.T) {
	request := DeployRequest{App: "shop", Function: "hello", Source: []byte(source), Deploy: true, Wait: "all"}
	absent := &picloud.Error{Code: picloud.CodeNotFound}
	for name, tt := range map[string]struct {
		world  world
		change func(*DeployRequest)
		actor  picloud.Actor
		steps  string
		code   picloud.Code
	}{
		"all the way":             {world: world{role: picloud.RoleDeveloper}, steps: "role compile publish await all"},
		"kept only":               {world: world{role: picloud.RoleOwner}, change: func(r *DeployRequest) { r.Deploy = false }, steps: "role compile publish"},
		"viewers do not compile":  {world: world{role: picloud.RoleViewer}, steps: "role", code: picloud.CodeForbidden},
		"nor strangers":           {world: world{roleErr: absent}, change: func(r *DeployRequest) { r.Create = true }, steps: "role", code: picloud.CodeNotFound},
		"admins make the app":     {world: world{roleErr: absent}, change: func(r *DeployRequest) { r.Create = true }, actor: picloud.Actor{Admin: true}, steps: "role compile publish await all"},
		"but only when they ask":  {world: world{roleErr: absent}, actor: picloud.Actor{Admin: true}, steps: "role", code: picloud.CodeNotFound},
		"broken is not published": {world: world{role: picloud.RoleDeveloper, compiled: &picloud.Error{Code: picloud.CodeScript}}, steps: "role compile", code: picloud.CodeScript},
		"long is not compiled":    {change: func(r *DeployRequest) { r.Source = make([]byte, picloud.MaxSourceSize+1) }, code: picloud.CodeSourceBounds},
	} {
		t.Run(name, func(t *testing.T) {
			w, r := tt.world, request
			if tt.change != nil {
				tt.change(&r)
			}
			_, err := w.manager(t).Deploy(t.Context(), tt.actor, r)
			if tt.code == "" {
				require.NoError(t, err)
			} else {
				require.Equal(t, tt.code, picloud.CodeOf(err))
			}
			require.Equal(t, tt.steps, strings.Join(w.noted, " "))
		})
	}
}

func TestWhatIsCommittedIsNoError(t *testing.T) {
	w := &world{wait: time.Hour}
	r, err := w.manager(t).Activate(t.Context(), picloud.Actor{}, "shop", "hello", 2, "all")
	require.NoError(t, err)
	require.Equal(t, picloud.Acks{Rev: 8, Nodes: []string{}, Missing: []string{"pi-2"}}, r.Acks)
	require.GreaterOrEqual(t, r.Timings.Await, 50*time.Millisecond)
}

func TestDraftTellsTheScriptsFailureFromOurs(t *testing.T) {
	w := &world{role: picloud.RoleDeveloper, live: picloud.Function{Version: 3}}
	for code, failed := range map[picloud.Code]bool{
		picloud.CodeFunctionError: true, picloud.CodeFunctionTimeout: true, picloud.CodeFunctionMemory: true,
		picloud.CodeBusy: false, picloud.CodeScript: false, picloud.CodeInternal: false,
	} {
		w.draft = &picloud.Error{Code: code}
		d, err := w.manager(t).Draft(t.Context(), picloud.Actor{}, "shop", "hello", nil, picloud.Request{}, true)
		if failed {
			require.NoError(t, err)
			require.Equal(t, code, picloud.CodeOf(d.Failure))
			require.Len(t, d.Logs, 1)
		} else {
			require.Equal(t, code, picloud.CodeOf(err))
		}
	}
	w.live.Version = 0
	_, err := w.manager(t).Draft(t.Context(), picloud.Actor{}, "shop", "hello", nil, picloud.Request{}, true)
	require.Equal(t, picloud.CodeConflict, picloud.CodeOf(err), "nothing to run")
}

// TestDraftsDoNotOutlastTheirCaller: a function may run for 15 minutes, a call of
// the API may not, and meanwhile nobody else's script is compiled.
func TestDraftsDoNotOutlastTheirCaller(t *testing.T) {
	for set, want := range map[time.Duration]string{0: "draft 10s", time.Second: "draft 1s", 15 * time.Minute: "draft 30s"} {
		w := &world{role: picloud.RoleDeveloper, live: picloud.Function{
			Version: 3, Settings: picloud.Settings{Limits: picloud.Limits{Timeout: picloud.Duration(set)}},
		}}
		_, err := w.manager(t).Draft(t.Context(), picloud.Actor{}, "shop", "hello", nil, picloud.Request{}, true)
		require.NoError(t, err)
		require.Contains(t, w.noted, want)
	}
}

func TestTokens(t *testing.T) {
	w := &world{}
	m := w.manager(t)
	_, a, err := m.CreateUser(t.Context(), picloud.Actor{Admin: true}, "ada", false)
	require.NoError(t, err)
	_, b, err := m.CreateUser(t.Context(), picloud.Actor{Admin: true}, "bob", false)
	require.NoError(t, err)
	require.NotEqual(t, a, b)
	require.Regexp(t, `^pct_[A-Za-z0-9_-]{43}$`, a)
	require.Equal(t, []string{string(HashToken(a)), string(HashToken(b))}, w.noted, "only hashes go out")

	w.noted = nil
	for _, bad := range []string{"", "pct_", a[:20], a + "x", strings.ToUpper(a)} {
		_, err := m.Authenticate(t.Context(), bad)
		require.ErrorIs(t, err, picloud.ErrUnauthenticated)
	}
	require.Empty(t, w.noted, "what cannot be a token costs no query")
	_, err = m.Authenticate(t.Context(), a)
	require.ErrorIs(t, err, picloud.ErrUnauthenticated)
	require.Equal(t, []string{"by token"}, w.noted)
}

func FuzzCheckSource(f *testing.F) {
	f.Add([]byte("let a = 1\nlet é = \"\xff\""))
	f.Add([]byte(" \n"))
	f.Fuzz(func(t *testing.T, source []byte) {
		err := checkSource("deploy", "a/b", source)
		if err == nil {
			require.True(t, utf8.Valid(source))
			return
		}
		var e *picloud.Error
		require.ErrorAs(t, err, &e)
		require.ErrorIs(t, err, picloud.ErrScript)
		if e.Script != nil {
			require.LessOrEqual(t, e.Script.Line, 1+strings.Count(string(source), "\n"))
			require.GreaterOrEqual(t, e.Script.Column, 1)
		}
	})
}
