package picloud

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCatalogueIsWhole: codes and slugs are what people search for, so none
// stands twice, and each says what it means.
func TestCatalogueIsWhole(t *testing.T) {
	types := map[string]bool{}
	last := Code("")
	for _, e := range Catalogue {
		require.Regexp(t, `^PC1[0-4][0-9]{2}$`, string(e.Code))
		require.Greater(t, e.Code, last, "in order, and none twice")
		last = e.Code
		require.False(t, types[e.Type], "%s: the slug %s stands twice", e.Code, e.Type)
		types[e.Type] = true
		require.Regexp(t, `^[a-z]+(-[a-z]+)*$`, e.Type)
		require.NotEmpty(t, e.Title, e.Code)
		require.NotEmpty(t, e.Doc, e.Code)
		require.Error(t, e.Kind, e.Code)
		require.True(t, http.StatusText(e.Status) != "" || e.Status == 499, "%s: %d", e.Code, e.Status)
		require.ErrorIs(t, &Error{Code: e.Code}, e.Kind)
	}
	require.Equal(t, CodeInternal, Code("PC9999").Entry().Code)
}

func TestErrorsSayWhatWasTriedOnWhat(t *testing.T) {
	cause := errors.New("broken pipe")
	e := &Error{Code: CodeConflict, Op: "roll back", Resource: "shop/pay", Detail: "nothing was live", Err: cause}
	require.EqualError(t, e, "roll back shop/pay: nothing was live: broken pipe")
	require.ErrorIs(t, e, cause)
	require.EqualError(t, &Error{Code: CodeConflict}, "Conflict")
	require.Equal(t, CodeConflict, CodeOf(fmt.Errorf("outer: %w", e)))
	require.Equal(t, CodeInternal, CodeOf(cause))
}
