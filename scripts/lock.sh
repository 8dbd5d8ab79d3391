#!/usr/bin/env bash
# Writes the three locks from pyproject.toml: names, versions and hashes, no registry host. Needs `uv` (set UV to name it).
# uv.lock itself names download hosts, and so stays out of the repository.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=${UV:-uv}
command -v "$uv" >/dev/null || { echo "lock: needs uv (pip install uv), or make lock UV=/path/to/uv" >&2; exit 2; }
export UV_PYTHON_DOWNLOADS=never
"$uv" lock --quiet ${UPGRADE:+--upgrade}
export_lock() { # file, what it is, options of uv export
  { echo "# $2 Written by \`make lock\`; not edited by hand."
    "$uv" export --quiet --locked --format requirements-txt --no-emit-project --no-header --no-annotate "${@:3}"
  } >"$1.new" && mv "$1.new" "$1"
}
export_lock requirements.lock "What graven needs to run." --no-default-groups
export_lock requirements-build.lock "What builds graven." --only-group build
export_lock requirements-dev.lock "What graven needs to run, be built, tested and measured." --all-groups
if grep -n '://' requirements*.lock; then echo "lock: a host stands in a lock" >&2; exit 1; fi
