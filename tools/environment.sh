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
# for versions that are not switched on, and Debian's python3 comes without ensurepip. $PYTHON goes first.
find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3.13 python3.12 python3.11 python3 python; do
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

# requirements NAME  prints what the environment NAME consists of. tools/lock resolves it to the versions
# in tools/constraints, so that what a registry publishes later cannot break a clone.
requirements() {
    case $1 in
    test) echo '-e .[all] --group test' ;;
    # not editable: what is compiled takes the place of what is installed here
    compiled) echo '.[all] --group test' ;;
    lint) echo '-e . --group lint' ;;
    coverage) echo '-e . --group coverage' ;;
    openai2-httpx) echo '-e .[all] --group clients openai>=2,<3' ;;
    openai3-httpx2 | openai3-httpx) echo '-e .[all] --group clients openai>=3,<4' ;;
    stories) echo '-e .[all] --group stories' ;;
    vendors) echo '-e .[all] --group vendors' ;;
    vendors-messages) echo '-e .[all] --group vendors-messages' ;;
    ray) echo '-e .[all,ray] --group ray' ;;
    # mkdocs and its theme; what docs/ imports, so that its code runs
    docs) echo '-e . --group docs' ;;
    docs-code) echo '-e .[all] --group docs-code' ;;
    # OptiLLM without what it requires: of that only what its server imports. The rest is PyTorch and
    # its like, 1.7 GB for models that it would run itself.
    optillm) echo '--no-deps optillm==0.4.0' ;;
    optillm-imports)
        echo 'z3-solver<=4.15.4.0 aiohttp cerebras_cloud_sdk flask math-verify networkx numpy openai' \
            'PyYAML sympy'
        ;;
    *) fail "there is no environment $1" ;;
    esac
}

# constraints NAME  prints the file with the versions of NAME: one for those that share an environment.
constraints() {
    case $1 in
    lint | compiled | coverage) echo "$root/tools/constraints/test.txt" ;;
    docs-code) echo "$root/tools/constraints/docs.txt" ;;
    optillm-imports) echo "$root/tools/constraints/optillm.txt" ;;
    openai3-httpx2 | openai3-httpx) echo "$root/tools/constraints/openai3.txt" ;;
    openai2-httpx) echo "$root/tools/constraints/openai2.txt" ;;
    *) echo "$root/tools/constraints/$1.txt" ;;
    esac
}

# new_pip PYTHON  gives an environment a pip that knows --group: 25.1 or newer. That of a new environment
# is as old as its Python.
new_pip() {
    "$1" -c 'import pip, sys; sys.exit([*map(int, pip.__version__.split(".")[:2])] < [25, 1])' ||
        "$1" -m pip install --quiet --disable-pip-version-check "pip==$pip_version"
}
pip_version=25.3

# environment FOLDER NAME  makes root/FOLDER, if need be, and installs the requirements of NAME into it,
# unless the same were installed with the same pyproject.toml and versions before.
environment() {
    local folder=$1 name=$2 python log stamp wanted versions
    local -a list
    read -ra list <<<"$(requirements "$name")"
    versions=$(constraints "$name")
    local path=$root/$folder
    # The checkout's own path is part of it, because an editable install points there.
    wanted=$(printf '%s\n' "$root" "${list[@]}" | cat - "$root/pyproject.toml" "$versions" | cksum)
    stamp=$path/.installed-$name
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && "$path/bin/python" -c '' 2>/dev/null; then
        return
    fi
    if ! "$path/bin/python" -c 'import pip' >/dev/null 2>&1; then
        python=$(find_python) || exit 1
        say "making $folder with $("$python" --version)"
        "$python" -m venv --clear "$path" >&2 || fail "$python could not make $folder"
    fi
    log=$path/install.log
    say "installing ${list[*]} into $folder (once; some seconds to a minute)"
    # As variables, because they also hold for what builds our own wheel.
    if ! (new_pip "$path/bin/python" && cd "$root" && PIP_CONSTRAINT=$versions PIP_BUILD_CONSTRAINT=$versions \
        "$path/bin/python" -m pip install --disable-pip-version-check "${list[@]}") >"$log" 2>&1; then
        grep -v '^WARNING' "$log" | tail -n 15 >&2
        fail "could not install ${list[*]} into $folder" \
            "Is the package index reachable? The whole story is in $folder/install.log;" \
            "to begin afresh: rm -rf $folder"
    fi
    printf '%s\n' "$wanted" >"$stamp"
}

# node_packages FOLDER  installs what root/FOLDER/package-lock.json names, unless it was done before.
node_packages() {
    local path=$root/$1 log wanted
    if ! command -v npm >/dev/null; then
        say "there is no npm: the tests in $1 are left out"
        return
    fi
    wanted=$(cat "$path/package.json" "$path/package-lock.json" | cksum)
    [ "$(cat "$path/node_modules/.installed" 2>/dev/null)" != "$wanted" ] || return 0
    log=$(mktemp)
    say "installing the packages of $1 (once; some seconds to a minute)"
    if ! (cd "$path" && npm ci --loglevel=error) >"$log" 2>&1; then
        tail -n 15 "$log" >&2
        fail "could not install the packages of $1" "Is the registry of npm reachable?"
    fi
    rm -f "$log"
    printf '%s\n' "$wanted" >"$path/node_modules/.installed"
}
