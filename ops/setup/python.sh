#!/bin/sh
# Prints a Python 3.11 or 3.12 that really runs and can make environments; installs one on Debian as root; else says how.
find_python() {
  for name in python3.11 python3.12 python3 /usr/bin/python3.11 /usr/bin/python3.12 /usr/bin/python3; do
    path=$(command -v "$name" 2>/dev/null) || continue
    # A shim may exist for a version that is not installed: only running it tells.
    "$path" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null || continue
    echo "$path"
    return 0
  done
  return 1
}
find_python && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  { apt-get update -q && apt-get install -y -q --no-install-recommends python3 python3-venv; } >&2 </dev/null
  find_python && exit 0
fi
echo "Python 3.11 or 3.12 with its venv module is missing" >&2
echo "  mend it with: apt-get install python3 python3-venv  (or: pyenv install 3.11; macOS: brew install python@3.11)" >&2
exit 1
