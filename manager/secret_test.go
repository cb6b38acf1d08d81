package manager

import (
	"cmp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

func TestSetSecretGoesStepByStep(t *testing.T) {
	absent := &picloud.Error{Code: picloud.CodeNotFound}
	for name, tt := range map[string]struct {
		world world
		name  string
		value string
		steps string
		code  picloud.Code
		kept  []string
	}{
		"all the way":            {world: world{role: picloud.RoleDeveloper}, steps: "role key seal put", kept: []string{"shop/KEY=fresh key of shop:7"}},
		"with the key in effect": {world: world{role: picloud.RoleOwner, dataKeys: []string{"old"}}, steps: "role key seal put", kept: []string{"shop/KEY=old:7"}},
		"the key is replaced": {
			world: world{role: picloud.RoleDeveloper, dataKeys: []string{"old", "newer", "newest"}},
			steps: "role key seal put key seal put key seal put", kept: []string{"shop/KEY=newest:7"},
		},
		"viewers do not seal":     {world: world{role: picloud.RoleViewer}, steps: "role", code: picloud.CodeForbidden},
		"strangers see no app":    {world: world{roleErr: absent}, steps: "role", code: picloud.CodeNotFound},
		"a node without the key":  {world: world{role: picloud.RoleDeveloper, unsealed: errNoSealer}, steps: "role", code: picloud.CodeSecrets},
		"nor do they learn of it": {world: world{roleErr: absent, unsealed: errNoSealer}, steps: "role", code: picloud.CodeNotFound},
		"no name":                 {name: "a-b", code: picloud.CodeInvalid},
		"no value":                {value: "-", code: picloud.CodeInvalid},
		"too much":                {value: strings.Repeat("x", picloud.MaxSecretSize+1), code: picloud.CodeTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			w, value := tt.world, "hunter2"
			if tt.value != "" {
				value = strings.TrimPrefix(tt.value, "-")
			}
			rev, err := w.manager(t).SetSecret(t.Context(), picloud.Actor{}, "shop", cmp.Or(tt.name, "KEY"), []byte(value))
			if tt.code == "" {
				require.NoError(t, err)
				require.EqualValues(t, secretRev, rev)
			} else {
				require.Equal(t, tt.code, picloud.CodeOf(err))
				require.NotContains(t, err.Error(), "hunter2")
			}
			require.Equal(t, tt.steps, strings.Join(w.noted, " "))
			require.Equal(t, tt.kept, w.kept)
		})
	}
}

func TestSealingIsNotTriedForEver(t *testing.T) {
	keys := make([]string, 100) // one more with every attempt
	for i := range keys {
		keys[i] = strings.Repeat("k", i+1)
	}
	w := &world{role: picloud.RoleDeveloper, dataKeys: keys}
	_, err := w.manager(t).SetSecret(t.Context(), picloud.Actor{}, "shop", "KEY", []byte("x"))
	require.ErrorIs(t, err, picloud.ErrConflict)
	require.Len(t, w.noted, 1+3*sealAttempts)
	require.Empty(t, w.kept)
}

func TestWithoutASealerNothingIsSet(t *testing.T) {
	w := &world{role: picloud.RoleDeveloper}
	m, err := New(Options{
		Apps: apps{w}, Functions: functions{w}, Versions: versions{w}, Deployments: deployments{w}, Users: users{w},
		Secrets: secrets{w}, Compiler: w, Drafter: w, Fleet: w,
	})
	require.NoError(t, err)
	_, err = m.SetSecret(t.Context(), picloud.Actor{}, "shop", "KEY", []byte("x"))
	require.Equal(t, picloud.CodeSecrets, picloud.CodeOf(err))
}
