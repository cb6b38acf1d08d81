package postgres

import (
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/picloud/picloud"
)

// parameter is the name of a setting that a DSN may carry.
var parameter = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]*$`)

// parse reads the DSN. Its errors say nothing of the DSN: a part that was taken for a
// host or a name may be one of the password.
func (o Options) parse() (*pgxpool.Config, error) {
	bad := &picloud.Error{
		Code: picloud.CodeInvalid, Op: "read database settings",
		Detail: "PICLOUD_DATABASE_URL is neither a PostgreSQL URL nor a keyword/value string",
		Hint:   "use postgres://USER:PASSWORD@HOST:5432/DATABASE, or leave it empty for a managed server",
	}
	conf, err := pgxpool.ParseConfig(o.DSN)
	if err != nil {
		return nil, bad // the cause quotes the DSN
	}
	for name := range conf.ConnConfig.RuntimeParams {
		if !parameter.MatchString(name) {
			return nil, bad
		}
	}
	if cutOff(o.DSN) {
		bad.Detail = "PICLOUD_DATABASE_URL has a character behind the host that does not belong there; perhaps it is one of the password"
		bad.Hint = "write the characters @ / ? # : of a user or a password as %40 %2F %3F %23 %3A"
		return nil, bad
	}
	return conf, nil
}

// cutOff reports whether a URL seems to end its user and password too early: one of / ? #
// in a password ends it, and the rest becomes a part of the path, the query or the
// fragment; a second @ makes a part of it a host.
func cutOff(dsn string) bool {
	scheme, rest, found := strings.Cut(dsn, "://")
	if !found || scheme != "postgres" && scheme != "postgresql" {
		return false
	}
	end := strings.IndexAny(rest, "/?#") // of user, password and hosts
	return strings.Count(rest, "@") > 1 || strings.Contains(rest, "#") || end >= 0 && strings.Contains(rest[end:], "@")
}

// DSNOf returns the DSN of the same database for another role and its password, without
// those of dsn. A file or a service that dsn names for its password does not go with it.
func DSNOf(dsn, role, password string) (string, error) {
	if _, err := (Options{DSN: dsn}).parse(); err != nil {
		return "", err
	}
	if u, err := url.Parse(dsn); err == nil && (u.Scheme == "postgres" || u.Scheme == "postgresql") {
		q := u.Query()
		for _, name := range ofLogin {
			q.Del(name)
		}
		u.User, u.RawQuery = url.UserPassword(role, password), q.Encode()
		return u.String(), nil
	}
	var parts []string
	for rest := strings.TrimLeft(dsn, blanks); rest != ""; rest = strings.TrimLeft(rest, blanks) {
		name, after, found := strings.Cut(rest, "=")
		if name = strings.TrimSpace(name); !found || !parameter.MatchString(name) {
			return "", errors.New("read database settings: they are no keyword/value string")
		}
		value, behind := word(strings.TrimLeft(after, blanks))
		if !slices.Contains(ofLogin, name) {
			parts = append(parts, name+"="+quoted(value))
		}
		rest = behind
	}
	return strings.Join(append(parts, "user="+quoted(role), "password="+quoted(password)), " "), nil
}

const blanks = " \t\n\r\f\v"

// ofLogin are the settings of a DSN that say who logs in, and how.
var ofLogin = []string{"user", "password", "passfile", "service", "servicefile"}

// word reads a value of a keyword/value string, and returns what is behind it.
func word(text string) (value, rest string) {
	quote := strings.HasPrefix(text, "'")
	if quote {
		text = text[1:]
	}
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text):
			i++
			out.WriteByte(text[i])
		case quote && c == '\'', !quote && strings.IndexByte(blanks, c) >= 0:
			return out.String(), text[i+1:]
		default:
			out.WriteByte(c)
		}
	}
	return out.String(), ""
}

// quoted writes a value of a keyword/value string.
func quoted(value string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value) + "'"
}
