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

Values of flags and environment variables mean themselves, whatever characters they have. In a Caddyfile, and in Caddy's
JSON, ` + "`{env.NAME}` and `{file./path}`" + ` stand for what they name.

Several nodes run on one machine when each has its own ` + "`data`" + ` and ports.

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

Such a Caddyfile wins over flags and environment. In one with sites of its own, the sites' addresses say where the node
listens, and the settings of ports and ` + "`bind`" + ` only what it tells people.

To make the embedded one yours: ` + "`picloud config show > Caddyfile`" + `, change it, start the node, and after further changes
` + "`picloud reload`" + `, or SIGUSR1. The node reads the file itself, with the environment and the flags that it was started with:
` + "`{$PICLOUD_DATA}`, `{$PICLOUD_NODE_NAME}` and `{$PICLOUD_ADMIN_SOCKET}`" + ` are always known in it, and the other variables
above when they or their flags are set. Files that it imports see the environment alone. A
reload drops no request and restarts neither executors nor the database; a configuration that does not load changes
nothing.

` + "```caddyfile\n")
	text, err := DefaultCaddyfile()
	require.NoError(t, err)
	b.Write(text)
	b.WriteString("```\n")
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
