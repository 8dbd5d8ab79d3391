#!/usr/bin/env bash
# Sets up .venv once for each state of the locks:  scripts/setup.sh run | dev
#
# run: what `graven` needs. dev: that, and the tools of the tests and the benchmarks.
# Every package is pinned by hash and comes as a wheel. Set PYTHON to choose the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."

kind=${1:?usage: scripts/setup.sh run|dev}
case $kind in
  run) locks=(requirements.lock requirements-build.lock) ;;
  dev) locks=(requirements-dev.lock) ;;
  *) echo "setup: no such kind: $kind (run or dev)" >&2; exit 2 ;;
esac

# The key: anything that makes an existing .venv the wrong one.
key=$( (cat requirements.lock requirements-build.lock requirements-dev.lock pyproject.toml; pwd; echo "${PYTHON:-}") | sha256sum | cut -c1-16)
usable() { .venv/bin/python -c 'import importlib.util as u, sys; sys.exit(u.find_spec("graven") is None)' >/dev/null 2>&1; }
if [ -e ".venv/.graven-dev-$key" ] || [ -e ".venv/.graven-$kind-$key" ]; then
  usable && exit 0
fi

# A candidate must really start (a version manager's shim may refuse), be new enough, and be able to make environments.
new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
python=
unfit=
for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.14 python}; do
  new_enough "$candidate" || continue
  if "$candidate" -c 'import ensurepip, venv' >/dev/null 2>&1; then python=$candidate; break; fi
  unfit=$candidate
done
if [ -z "$python" ]; then
  if [ -n "$unfit" ]; then
    echo "setup: $unfit cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv" >&2
  else
    echo "setup: no Python 3.11 or newer found (looked at: ${PYTHON:-python3, python3.11 to python3.14, python})." >&2
    echo "       Install one, or name it: make PYTHON=/path/to/python3.12 …" >&2
  fi
  exit 2
fi

mkdir -p .cache
log=.cache/setup.log
started=$SECONDS
trap 'code=$?; [ $code -eq 0 ] || { tail -n 30 "$log" >&2; echo "setup: failed; the whole output is in $log" >&2; }' EXIT
# An environment of another interpreter, or one whose interpreter is gone, is made anew.
if ! .venv/bin/python -c "import sys, pip; sys.exit(sys.version_info[:2] != $("$python" -c 'import sys; print(sys.version_info[:2])'))" 2>/dev/null; then
  "$python" -m venv --clear .venv >"$log" 2>&1 </dev/null
fi
requirements=()
for lock in "${locks[@]}"; do requirements+=(-r "$lock"); done
pip=(.venv/bin/python -m pip --no-input --disable-pip-version-check)
"${pip[@]}" install --require-hashes --only-binary :all: "${requirements[@]}" >>"$log" 2>&1 </dev/null
"${pip[@]}" install --no-deps --no-build-isolation --no-index -e . >>"$log" 2>&1 </dev/null
usable || { echo "setup: graven was installed, but cannot be imported" >>"$log"; exit 3; }
rm -f .venv/.graven-*
touch ".venv/.graven-$kind-$key"
echo "set-up: $((SECONDS - started)) s ($kind, $(.venv/bin/python -V), .venv)"
