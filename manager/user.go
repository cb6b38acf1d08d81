package manager

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/picloud/picloud"
)

// TokenPrefix starts every API token, so that people and secret scanners can
// tell what they found.
const TokenPrefix = "pct_"

// tokenBytes is how much of a token is random: it needs neither salt nor slow hashing.
const tokenBytes = 32

// NewToken returns a fresh API token and its hash, the only trace of it that is kept.
func NewToken() (token string, hash []byte) {
	secret := make([]byte, tokenBytes)
	_, _ = rand.Read(secret) // never fails: crypto/rand ends the process instead
	token = TokenPrefix + base64.RawURLEncoding.EncodeToString(secret)
	return token, HashToken(token)
}

// HashToken returns what the database knows a token by.
func HashToken(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

// CreateUser creates a user and returns it with its API token, which cannot be
// had again.
func (m *Manager) CreateUser(ctx context.Context, actor picloud.Actor, name string, admin bool) (picloud.User, string, error) {
	if err := picloud.CheckName("name", name); err != nil {
		return picloud.User{}, "", err
	}
	token, hash := NewToken()
	u, err := m.o.Users.Create(ctx, actor, name, admin, hash)
	if err != nil {
		return picloud.User{}, "", err
	}
	return u, token, nil
}

// RotateToken replaces a user's API token; the old one ends at once.
func (m *Manager) RotateToken(ctx context.Context, actor picloud.Actor, name string) (string, error) {
	token, hash := NewToken()
	if err := m.o.Users.SetToken(ctx, actor, name, hash); err != nil {
		return "", err
	}
	return token, nil
}

// Authenticate returns the user whose API token it is. It asks the database
// every time, so a token that was rotated or whose user was deleted ends at
// once on all nodes.
func (m *Manager) Authenticate(ctx context.Context, token string) (picloud.User, error) {
	if !wellFormed(token) {
		return picloud.User{}, &picloud.Error{
			Code: picloud.CodeUnauthenticated, Detail: "this is not an API token", Hint: "a token starts with " + TokenPrefix + "; picloud login saves one",
		}
	}
	u, err := m.o.Users.ByToken(ctx, HashToken(token))
	if errors.Is(err, picloud.ErrNotFound) {
		return picloud.User{}, &picloud.Error{
			Code: picloud.CodeUnauthenticated, Detail: "no user has this API token", Hint: "it may have been replaced; an admin makes a new one with: picloud user token NAME; on the node's machine its owner does with: picloud user token NAME --local",
		}
	}
	return u, err
}

// wellFormed spares the database what cannot be a token.
func wellFormed(token string) bool {
	secret, ok := strings.CutPrefix(token, TokenPrefix)
	return ok && len(secret) == base64.RawURLEncoding.EncodedLen(tokenBytes)
}
