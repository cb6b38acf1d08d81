#!/usr/bin/env bash
# Measures PiCloud on this machine, in one run. Installs wrk if it is missing.
# Results: a table on standard output and in docs/perf.md, and bench/results.json.
set -euo pipefail
cd "$(dirname "$0")/.."
deploy/setup/install.sh wrk=wrk
mkdir -p bench/out
CGO_ENABLED=0 go build -ldflags '-s -w' -o bench/out/ ./bench ./bench/stockcaddy ./bench/nullworker
exec bench/out/bench "$@"
