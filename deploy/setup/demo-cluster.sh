#!/usr/bin/env bash
# Starts three nodes on this machine, which form a cluster, with their data in ./demo-cluster.
# Ctrl-C stops all three; the next start goes on where they were. On Linux each node has an
# address of its own, 127.0.0.1 to 127.0.0.3; everywhere each has ports of its own.
set -euo pipefail
set -m # each node is a process group of its own, so that Ctrl-C reaches this script alone
cd "$(dirname "$0")/../.."
bin=$PWD/bin/picloud

dir=$PWD/demo-cluster shown=demo-cluster
# As root, PostgreSQL and the executors run as other users, who must be able to get here.
if [ "$(id -u)" -eq 0 ] && ! setpriv --reuid=65534 --regid=65534 --clear-groups test -x "$PWD" 2>/dev/null; then
  dir=/var/lib/picloud-demo-cluster shown=$dir
  echo "  data goes to $dir: other users cannot enter $PWD"
fi
mkdir -p "$dir"
chmod 711 "$dir"

# What the shell has set for one node would be the same for all three.
for name in $(compgen -e | grep '^PICLOUD_' || true); do unset "$name"; done

host() { if [ "$(uname)" = Linux ]; then echo "127.0.0.$1"; else echo 127.0.0.1; fi; }
http() { echo $((9079 + $1)); }
control() { echo $((9179 + $1)); }

# settle NUMBER makes the settings of a node those of this shell.
settle() {
  export PICLOUD_DATA=$dir/pi-$1 PICLOUD_NODE_NAME=pi-$1 PICLOUD_BIND PICLOUD_ADVERTISE PICLOUD_HTTP_PORT PICLOUD_ADMIN_PORT
  PICLOUD_BIND=$(host "$1") PICLOUD_ADVERTISE=$(host "$1") PICLOUD_HTTP_PORT=$(http "$1") PICLOUD_ADMIN_PORT=$(control "$1")
  export PICLOUD_HTTPS_PORT=$((9442 + $1)) PICLOUD_CLUSTER_PORT=$((9279 + $1)) PICLOUD_GOSSIP_PORT=$((9379 + $1))
}

pids=()
stop() {
  trap '' INT TERM
  trap - EXIT
  set +m
  for pid in ${pids[@]+"${pids[@]}"}; do kill -TERM "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  # A node that was killed has left its database server.
  for pidfile in "$dir"/pi-*/postgres/postmaster.pid; do
    if [ -e "$pidfile" ]; then
      server=$(head -n 1 "$pidfile")
      kill -INT "$server" 2>/dev/null || true
      for _ in $(seq 100); do kill -0 "$server" 2>/dev/null && sleep 0.1; done
    fi
  done
  echo "All nodes are stopped. Their data stays in $shown; \`make demo-cluster\` starts them again."
  exit "$1"
}
trap 'stop 0' INT TERM HUP
trap 'stop 1' EXIT

# start NUMBER ARGUMENTS... starts a node, and waits until it is ready.
start() {
  local n=$1 log=$dir/pi-$1.log pid
  shift
  (settle "$n" && exec "$bin" run "$@") >"$log" 2>&1 </dev/null &
  pid=$!
  pids+=("$pid")
  for _ in $(seq 900); do
    if grep -q ' ready in ' "$log"; then
      grep -E ' ready in | joined cluster ' "$log"
      return
    fi
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  echo "pi-$n did not start:" >&2
  cat "$log" >&2
  exit 1
}

for n in 1 2 3; do
  join=()
  if [ "$n" -gt 1 ] && [ ! -e "$dir/pi-$n/cluster/node.crt" ]; then
    read -ra join <<<"$( (settle 1 && "$bin" node invite) | sed -n 's/.*picloud run //p')"
  fi
  start "$n" ${join[@]+"${join[@]}"}
done

[ -e "$dir/hello.risor" ] || echo 'function handle(req) { return {hello: "cluster"} }' >"$dir/hello.risor"
cat >"$dir/pi" <<PI
#!/usr/bin/env bash
# picloud as on the machine of a node: $shown/pi 2 node ls
export PICLOUD_SERVER=http://localhost:\$((9179 + \$1)) PICLOUD_TOKEN
$(declare -f host http control settle)
dir=$dir
settle "\$1"
PICLOUD_TOKEN=\$(sed -n 's/.*"token": *"\([^"]*\)".*/\1/p' "$dir/pi-1/credentials")
shift
exec "$bin" "\$@"
PI
chmod 755 "$dir/pi"

hint() { printf '  %-62s %s\n' "$1" "$2"; }
cat <<TRY

Three nodes run. In another terminal, in $PWD:

$(hint "$shown/pi 1 node ls" "who is there")
$(hint "$shown/pi 2 deploy $shown/hello.risor --wait all" "deploy through pi-2")
$(hint "curl http://$(host 3):$(http 3)/fn/default/hello" "call it on pi-3")
$(hint "kill ${pids[2]}; $shown/pi 1 node ls" "stop pi-3")
$(hint "kill -9 ${pids[0]}" "pi-1 dies, which has the database")
$(hint "curl http://$(host 2):$(http 2)/fn/default/hello" "pi-2 answers on")
$(hint "$shown/pi 2 database status" "what would be lost, and how to go on without pi-1")
$(hint "$shown/pi 2 run" "a node that was stopped, in this terminal")

What the nodes say is in $shown/pi-N.log. Ctrl-C here stops all three.
TRY
# A node that a person stops is no reason to stop the others.
while :; do
  alive=
  for pid in "${pids[@]}"; do if kill -0 "$pid" 2>/dev/null; then alive=$pid; fi; done
  [ -n "$alive" ] || break
  sleep 1 || true # Ctrl-C ends it too
done
echo "No node runs any more."
stop 0
