#!/usr/bin/env bash
# Proves that the generated files are what `make generate` makes, without
# depending on what is committed: it compares before and after.
set -euo pipefail
cd "$(dirname "$0")/../.."

generated() { git ls-files -co --exclude-standard '*.gen.go' '*.gen.json' docs/errors.md docs/cli.md docs/config.md docs/functions.md; }
before=$(mktemp -d)
trap 'rm -rf "$before"' EXIT
generated | cpio -pdm --quiet "$before" 2>/dev/null || generated | tar -cf - -T - | tar -xf - -C "$before"
go generate ./...
stale=0
for f in $(generated); do
  if ! cmp -s "$f" "$before/$f"; then
    echo "$f was stale; it is made again now, look at it and commit it" >&2
    stale=1
  fi
done
exit $stale
