package caddymodule

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// configDoc renders docs/config.md from the settings and the embedded Caddyfile.
func configDoc(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	b.WriteString(`# Settings of a node

<!-- Made by: go test ./caddymodule -run TestConfigDoc -update -->

Each setting has one name: as Caddyfile option inside the global ` + "`picloud`" + ` block, as flag of ` + "`picloud run`" + `, and as
environment variable. A flag wins over the environment.
` + live() + ` are Caddy's and change with a reload. The others are fixed while the node runs: a
reload that changes one is refused, and the message names it.

| Caddyfile | Flag | Environment | What | Default |
|---|---|---|---|---|
`)
	for _, s := range table {
		fmt.Fprintf(&b, "| `%s` | `--%s` | `%s` | %s | %s |\n", s.Name, s.Flag(), s.Env(), s.Doc, s.Shown())
	}
	b.WriteString(`
A database password does not belong on the command line, where every user of the machine can read it: ` + "`--database-url`" + `
refuses one, ` + "`PICLOUD_DATABASE_URL`" + ` takes it.

Values of flags and environment variables mean themselves, whatever characters they have: blanks, quotes, braces, dollars,
backslashes. Control characters such as line breaks are refused, and ` + "`bind`" + ` takes an IP address or a host name. In a
Caddyfile, and in Caddy's JSON, ` + "`{env.NAME}` and `{file./path}`" + ` stand for what they name.

Several nodes run on one machine when each has its own ` + "`data`" + ` and ports.

## Memory

Half of the machine's memory is for executors (` + "`executor_memory`" + `) and a quarter for the node's own process, at least 192 MiB
and at most 1 GiB; the last quarter is for PostgreSQL and the system. Where a service or a container has a memory limit of
its own (cgroup), that counts as the machine's memory. The node's quarter is the limit of its garbage collector: the variable
` + "`GOMEMLIMIT`" + ` sets another one, such as ` + "`GOMEMLIMIT=400MiB`" + `, and ` + "`off`" + ` none. Within it, ` + "`transit_memory`" + ` bounds all bodies, answers
and values that are on their way at one moment; what does not fit is refused, and small calls go on. The first screen and
` + "`picloud doctor`" + ` say the numbers of this node. Raise ` + "`transit_memory`" + ` where many large bodies come at once.

## The configuration

` + "`picloud run`" + ` takes ` + "`--config FILE`" + `, else ` + "`./Caddyfile`" + `, else ` + "`/etc/picloud/Caddyfile`" + `, else the embedded one, which
` + "`picloud config show`" + ` prints. A Caddyfile with nothing but settings is enough to set up a node; the embedded sites then serve with them:

` + "```caddyfile" + `
{
	picloud {
		node_name pi-2
		http_port 80
	}
}
` + "```" + `

A Caddyfile wins over flags and environment, with sites of its own or without; the first screen and ` + "`picloud doctor`" + ` name
what it overrules. The lock, the socket of ` + "`picloud status`, `stop` and `reload`" + `, Caddy's admin socket, its certificates and its
autosave are below ` + "`data`" + `, wherever that was set. In a Caddyfile with sites of its own, the sites' addresses say where
the node listens, and the settings of ports and ` + "`bind`" + ` only what it tells people. What such a file does not say is as in the
embedded one: the admin socket, the log's level and form, the grace period, the folder of certificates.

To make the embedded one yours: ` + "`picloud config show > Caddyfile`" + `, change it, start the node, and after further changes
` + "`picloud reload`" + `, or SIGUSR1. The commands find the node by ` + "`--data`, else `--config`, else `PICLOUD_DATA`" + `, else by the
Caddyfile that ` + "`picloud run`" + ` would take in the same folder, else in ` + "`./data`" + `, else in the default folder. A ` + "`./Caddyfile`" + ` or ` + "`./data`" + `
that nobody named counts only if it belongs to you, to root, or, for root, to the user who called sudo: in a folder such as ` + "`/tmp`" + ` everybody can
leave one. The commands refuse a stranger's and say whose it is; naming it uses it all the same. The node reads the file itself, with the environment and the flags that it was started with:
` + "`{$PICLOUD_DATA}`, `{$PICLOUD_NODE_NAME}` and `{$PICLOUD_ADMIN_SOCKET}`" + ` are always known in it, and the other variables
above when they, their flags or their options are set. Files that it imports see the environment alone. A
reload drops no request and restarts neither executors nor the database; a configuration that does not load changes
nothing.

` + "```caddyfile\n")
	text, err := DefaultCaddyfile()
	require.NoError(t, err)
	b.Write(text)
	b.WriteString("```\n" + `
## HTTPS

The node's own CA, made at the first start, signs certificates for ` + "`localhost` and `NODE.local`" + `. Under another name, and
under an IP address, the node shows the certificate of ` + "`localhost`" + `: the connection is encrypted, and clients say that the name
does not match (` + "`curl -k`" + ` goes on). The CA's certificate is ` + "`caddy/pki/authorities/local/root.crt`" + ` below ` + "`data`" + `; a machine
that trusts it trusts ` + "`https://NODE.local:8443`" + `.

## Signals

| Signal | The node |
|---|---|
| SIGINT (Ctrl-C), SIGTERM | stops: calls that run have ` + gracePeriod.String() + ` to end; a second Ctrl-C ends it at once |
| SIGHUP | stops when it was started from a terminal, which is then closed; reads its configuration again when it has no terminal, as under systemd; goes on under ` + "`nohup`" + ` |
| SIGUSR1 | reads its configuration again |
| SIGQUIT | ends at once |
`)
	b.WriteString(rulesDoc)
	b.WriteString(databaseDoc)
	return b.Bytes()
}

// live lists the settings that a reload applies.
func live() string {
	var names []string
	for _, s := range table {
		if s.Live {
			names = append(names, "`"+s.Name+"`")
		}
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

func TestConfigDoc(t *testing.T) {
	const path = "../docs/config.md"
	if *update {
		require.NoError(t, os.WriteFile(path, configDoc(t), 0o644))
	}
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(configDoc(t)), string(got), "make it again with: go test ./caddymodule -run TestConfigDoc -update")
}
