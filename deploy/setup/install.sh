#!/usr/bin/env bash
# Installs what building and running PiCloud needs and this machine lacks: Go is
# checked, PostgreSQL installed unless PICLOUD_DATABASE_URL names one, and for
# each argument COMMAND=PACKAGE[,PACKAGE…] those packages when the command is
# missing. It asks for nothing: without root and without passwordless sudo it
# prints the one command to run, and stops.
set -euo pipefail
PATH="$PATH:/usr/sbin" # servers are there, which is not in the path of everybody

# Debian's packages make and start servers of their own, now and at each boot. A node
# and the tests start theirs themselves, so while packages are installed two files say that
# nothing is made and nothing started. Afterwards the machine has neither.
root="${PICLOUD_SETUP_ROOT:-}" # tests have these files elsewhere
conf=$root/etc/postgresql-common/createcluster.conf
policy=$root/usr/sbin/policy-rc.d
mark="# Left here by PiCloud's make setup while it installs packages, as process"

as_root=""
[ "$(id -u)" -eq 0 ] || as_root="sudo -n"
take_away() { # FILE PROCESS: removes the file if that process of this script made it
  grep -qsxF "$mark $2" "$1" || return 0
  $as_root rm -f "$1"
  for theirs in "$1".ucf-dist "$1".dpkg-dist; do # the package's own, which stood back
    [ ! -e "$theirs" ] || $as_root mv "$theirs" "$1"
  done
}
# A setup that was killed (SIGKILL, a power cut) left its files: no package could start
# its server any more.
for file in "$conf" "$policy"; do
  process=$(sed -n "s/^$mark \([0-9]*\)\$/\1/p" "$file" 2>/dev/null | head -n 1 || true)
  if [ -z "$process" ] || grep -qs install.sh "/proc/$process/cmdline"; then
    continue # there is no file, it is somebody else's, or that setup still runs
  fi
  if [ -n "$as_root" ] && ! $as_root true 2>/dev/null; then
    echo "A setup that was killed has left $file. Run this: sudo rm $file" >&2
    continue
  fi
  take_away "$file" "$process"
  echo "Removed $file, which a setup that was killed has left" >&2
done

need_go="1.26"
if ! command -v go >/dev/null; then
  echo "Go $need_go or newer is missing; see \"Getting Go\" in README.md." >&2
  exit 1
fi
have_go=$(go env GOVERSION | sed 's/^go//; s/[^0-9.].*//')
if [ "$(printf '%s\n%s\n' "$need_go" "$have_go" | sort -V | head -n 1)" != "$need_go" ]; then
  echo "Go $need_go or newer is needed, this is $have_go; see \"Getting Go\" in README.md." >&2
  exit 1
fi

missing=()
have_postgres() {
  command -v initdb >/dev/null && command -v postgres >/dev/null && return
  compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null
}
have_postgres || [ -n "${PICLOUD_DATABASE_URL:-}" ] || missing+=(postgresql)
for extra in "$@"; do
  command -v "${extra%%=*}" >/dev/null || IFS=, read -ra packages <<<"${extra#*=}"
  missing+=("${packages[@]-}")
  packages=()
done
missing=($(printf '%s\n' "${missing[@]-}" | sed '/^$/d'))
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
  echo "Please install: ${missing[*]}" >&2
  exit 1
fi
install="apt-get install -y --no-install-recommends ${missing[*]}"
if [ -n "$as_root" ] && ! $as_root true 2>/dev/null; then
  echo "Missing: ${missing[*]}. Run this, then try again:" >&2
  echo "  sudo apt-get update && sudo $install" >&2
  if [[ " ${missing[*]} " == *" postgresql "* ]]; then
    echo "Debian starts a database server of its own with that package; PiCloud does not use it." >&2
  fi
  exit 1
fi
echo "Installing ${missing[*]} from Debian; this takes a minute or two"
restore() {
  take_away "$policy" $$
  take_away "$conf" $$
}
trap restore EXIT
meanwhile() { # FILE TEXT MODE: makes the file; one that is there stays as it is
  [ ! -e "$1" ] || return 0
  $as_root mkdir -p "${1%/*}"
  printf "$2" | $as_root tee "$1" >/dev/null
  $as_root chmod "$3" "$1"
}
meanwhile "$policy" "#!/bin/sh\n$mark $$\nexit 101\n" 755
if [[ " ${missing[*]} " == *" postgresql "* ]]; then
  meanwhile "$conf" "$mark $$\ncreate_main_cluster = false\n" 644
fi
$as_root apt-get update -qq
# UCF_FORCE_CONFFOLD: our createcluster.conf stays meanwhile, without a question.
$as_root env DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1 $install -o Dpkg::Options::=--force-confold >/dev/null
for service in nginx=nginx-light pgbouncer=pgbouncer; do
  if [[ " ${missing[*]} " == *" ${service#*=} "* ]] && command -v systemctl >/dev/null; then
    $as_root systemctl disable "${service%=*}" >/dev/null 2>&1 || true
  fi
done
