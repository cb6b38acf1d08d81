package postgres

import (
	"regexp"
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
