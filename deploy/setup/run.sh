#!/usr/bin/env bash
# Starts a node from this checkout, with its data in ./data.
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ -z "${PICLOUD_DATA:-}" ]; then
  PICLOUD_DATA=./data
  # As root, PostgreSQL and the executors run as other users, who must be able
  # to get here; nobody can enter /root, for one.
  if [ "$(id -u)" -eq 0 ] && ! setpriv --reuid=65534 --regid=65534 --clear-groups test -x "$PWD" 2>/dev/null; then
    PICLOUD_DATA=/var/lib/picloud
    echo "  data goes to $PICLOUD_DATA: other users cannot enter $PWD"
  fi
fi
export PICLOUD_DATA
exec bin/picloud run "$@"
