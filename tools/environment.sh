# Sourced by tools/test, tools/demo and .ci/run: a Python that is new enough, and virtual environments
# that are made once. Needs bash, coreutils and Python; the network only while something is missing.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "${0#"$root"/}: $1"
    shift
    for line in "$@"; do say "  $line"; done
    exit 1
}

# The newest Python that can make an environment. A name on the path proves nothing: pyenv's shims fail
# for versions that are not switched on, and Debian's python3 comes without ensurepip.
find_python() {
    local candidate
    for candidate in python3.13 python3.12 python3.11 python3 python; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
            >/dev/null 2>&1; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    fail "no Python 3.11 or newer that has the venv module" \
        "Install one so that python3.13, python3.12, python3.11 or python3 finds it" \
        "(on Debian and Ubuntu also the package python3-venv), and run this again."
}

# environment FOLDER REQUIREMENT...  makes root/FOLDER, if need be, and installs the requirements into
# it, unless the same were installed with the same pyproject.toml before.
environment() {
    local folder=$1 python log stamp wanted
    shift
    local path=$root/$folder
    # The checkout's own path is part of it, because an editable install points there.
    wanted=$(printf '%s\n' "$root" "$@" | cat - "$root/pyproject.toml" | cksum)
    stamp=$path/.installed-$(printf '%s' "$*" | cksum | cut -d ' ' -f 1)
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && "$path/bin/python" -c '' 2>/dev/null; then
        return
    fi
    if ! "$path/bin/python" -c 'import pip' >/dev/null 2>&1; then
        python=$(find_python) || exit 1
        say "making $folder with $("$python" --version)"
        "$python" -m venv --clear "$path" >&2 || fail "$python could not make $folder"
    fi
    log=$path/install.log
    say "installing $* into $folder (once; some seconds to a minute)"
    if ! (cd "$root" && "$path/bin/python" -m pip install --disable-pip-version-check "$@") \
        >"$log" 2>&1; then
        grep -v '^WARNING' "$log" | tail -n 15 >&2
        fail "could not install $* into $folder" \
            "Is the package index reachable? The whole story is in $folder/install.log;" \
            "to begin afresh: rm -rf $folder"
    fi
    printf '%s\n' "$wanted" >"$stamp"
}

# node_packages FOLDER  installs what root/FOLDER/package.json names, unless it was installed before.
node_packages() {
    local path=$root/$1 log wanted
    if ! command -v npm >/dev/null; then
        say "there is no npm: the tests in $1 are left out"
        return
    fi
    wanted=$(cksum <"$path/package.json")
    [ "$(cat "$path/node_modules/.installed" 2>/dev/null)" != "$wanted" ] || return 0
    log=$(mktemp)
    say "installing the packages of $1 (once; some seconds to a minute)"
    if ! (cd "$path" && npm install --loglevel=error) >"$log" 2>&1; then
        tail -n 15 "$log" >&2
        fail "could not install the packages of $1" "Is the registry of npm reachable?"
    fi
    rm -f "$log"
    printf '%s\n' "$wanted" >"$path/node_modules/.installed"
}
