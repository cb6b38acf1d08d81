package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/agent"
	"github.com/picloud/picloud/internal/datadir"
)

func runCommand(opts Options) *cobra.Command {
	var config string
	values := map[string]*string{}
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Start a node",
		Long: "Start a node: functions, control API, executors and, unless a database is\n" +
			"named, a PostgreSQL of its own. Every setting is a flag, an environment\n" +
			"variable and a Caddyfile option; flags win over the environment.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			env := readEnvironment(opts.Getenv)
			env.own(opts.Getenv)
			for _, s := range table {
				if cmd.Flags().Changed(s.Flag()) {
					if err := env.useFlag(s, *values[s.Name]); err != nil {
						return err
					}
				}
			}
			return run(cmd.Context(), cmd.OutOrStdout(), opts.Version, env, config)
		},
	}
	cmd.Flags().StringVar(&config, "config", "", "Caddyfile (default: ./Caddyfile, /etc/picloud/Caddyfile, else the embedded one)")
	for _, s := range table {
		values[s.Name] = cmd.Flags().String(s.Flag(), "", fmt.Sprintf("%s (default: %s) [$%s]", s.Doc, s.Shown(), s.Env()))
	}
	return cmd
}

// useFlag sets a setting to the value of its flag.
func (e environment) useFlag(s setting, value string) error {
	if s.Name == "database_url" && hasPassword(value) {
		return &picloud.Error{
			Code: picloud.CodeInvalid, Op: "read --database-url",
			Detail: "a password on the command line shows in process lists",
			Hint:   "set PICLOUD_DATABASE_URL instead",
		}
	}
	var invalid *invalidSetting
	if _, err := literal(map[string]string{s.Name: value}).read(s.Name); errors.As(err, &invalid) {
		return wrongFlag{invalid.explainAs("--" + s.Flag())}
	}
	e.values[s.Name] = value
	return nil
}

// wrongFlag says that a flag has a value that it cannot have: exit code 2, as for every
// wrong command line.
type wrongFlag struct{ error }

// Unwrap returns the error that is printed.
func (w wrongFlag) Unwrap() error { return w.error }

// ExitCode returns the exit code.
func (wrongFlag) ExitCode() int { return 2 }

// hasPassword reports whether a DSN, as URL or as key=value list, may hold a password. It
// does not parse: a character that belongs to a password, and was not escaped, would end
// the password for a parser. In doubt it says yes.
func hasPassword(dsn string) bool {
	text := strings.ToLower(dsn)
	if plain, err := url.PathUnescape(text); err == nil {
		text += " " + plain // ?pass%77ord=
	}
	if strings.Contains(text, "password") || strings.Contains(text, "secret") {
		return true
	}
	_, rest, isURL := strings.Cut(dsn, "://")
	if !isURL {
		rest = dsn
	}
	if at := strings.LastIndex(rest, "@"); at >= 0 {
		return strings.Contains(rest[:at], ":") // user:password@
	}
	if !isURL && strings.Contains(rest, "=") {
		return false
	}
	// Without a host behind it, a password stands where a port does.
	hosts := rest[:strings.IndexAny(rest+"/", "/?#")]
	for host := range strings.SplitSeq(hosts, ",") {
		host = host[strings.LastIndex(host, "]")+1:] // an IPv6 address has colons
		_, port, _ := strings.Cut(host, ":")
		if strings.Trim(port, "0123456789") != "" {
			return true
		}
	}
	return false
}

// run starts a node and stays until a signal or `picloud stop` ends it.
func run(ctx context.Context, out io.Writer, version string, env environment, configFlag string) error {
	begun := time.Now()
	conf, err := env.configure(configFlag)
	if err != nil {
		return err
	}
	if err := conf.home.prepare(); err != nil {
		return err
	}
	// The lock comes before Caddy, which would replace a running node's admin socket.
	lock, err := datadir.Acquire(conf.home.DataDir)
	if err != nil {
		return err
	}
	defer lock.Release()
	if err := conf.probePorts(); err != nil {
		return err
	}
	if err := conf.home.furnish(); err != nil {
		return err
	}
	start := &launch{
		version: version, begun: begun, lock: lock, defaultData: env.data,
		configure: func() (config, error) { return env.configure(configFlag) },
	}
	launched.Store(start)
	p := &process{out: out, launch: start, config: conf}
	caddy.OnExit(start.end) // before the process says that it has stopped
	signals, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer signals.Stop()
	defer p.socket.Close()
	err = start.bringUp(ctx, out, conf)
	if err != nil && !caddy.Exiting() {
		return err
	}
	select {} // a signal ends the process through Caddy
}

// joining makes the node a member of the cluster that it is to join.
func (l *launch) joining(ctx context.Context, out io.Writer, h home) (agent.Joined, error) {
	if h.Join == "" {
		return agent.Joined{}, nil
	}
	opts := h.Options
	opts.Lock, opts.Version = l.lock, l.version
	return agent.Join(ctx, opts, func(why error) {
		fmt.Fprintf(out, "PiCloud node %s waits for %s: %v\n", opts.NodeName, opts.Join, why)
	})
}

// bringUp starts the node and says so.
func (l *launch) bringUp(ctx context.Context, out io.Writer, conf config) error {
	joined, err := l.joining(ctx, out, conf.home)
	if err != nil {
		return err
	}
	if err := caddy.Load(conf.json, true); err != nil {
		return fmt.Errorf("start node: %w", err)
	}
	node := activeNode()
	if node == nil {
		return noNode(conf.path)
	}
	if err := announce(ctx, out, node, conf, joined, datadir.Default(os.Getenv)); err != nil {
		return errors.Join(err, caddy.Stop())
	}
	return nil
}
