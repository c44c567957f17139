# Shell shared by the scripts beside this folder: installs what is missing, checks Swift, makes
# .venv, builds. Sourced by bash with `set -euo pipefail`. A second call of everything here does nothing and
# needs neither the network nor root.
# shellcheck shell=bash

# nginx lives in sbin, which is not on every user's PATH.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
log_directory=$root/.run/log
venv_python=$root/.venv/bin/python
# How every script builds and tests: with all package traits. SwiftPM builds everything anew when they change, so none
# may be left out somewhere.
swift_package=(--package-path "$root" --traits TLS,Compression)
# How many tests run at once. If a hundred clusters started at once, each test would wait for all the others, and miss
# its deadlines meanwhile.
test_width=8
# What ensure_venv installs; a script that needs more adds to it.
python_packages=(websockets==15.0.1)

say() {
    printf '==> %s\n' "$*"
}

fail() {
    printf 'scripts/%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# Runs a command with its output in a log, which is shown (its end) when the command fails.
quietly() {
    local log=$log_directory/$1.log
    shift
    mkdir -p "$log_directory"
    if ! "$@" >"$log" 2>&1 </dev/null; then
        tail -n 30 "$log" >&2
        fail "failed: $* (all of its output: $log)"
    fi
}

has_library() {
    local header
    for header in "/usr/include/$1" "/usr/local/include/$1"; do
        if [[ -e $header ]]; then
            return 0
        fi
    done
    return 1
}

# Prints the Debian packages of whatever is not there.
missing_packages() {
    has_library hiredis/async.h || echo libhiredis-dev
    has_library event2/event.h || echo libevent-dev
    has_library openssl/ssl.h || echo libssl-dev
    command -v openssl >/dev/null || echo openssl
    has_library zlib.h || echo zlib1g-dev
    command -v pkg-config >/dev/null || echo pkg-config
    command -v redis-server >/dev/null || echo redis-server
    command -v nginx >/dev/null || echo nginx
    if ! command -v python3 >/dev/null || ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        echo python3-venv
    fi
}

# What ensure_packages asks; a script that needs more adds a function of its own.
package_checks=(missing_packages)

as_root() {
    if ((EUID == 0)); then
        "$@"
    else
        sudo -n "$@"
    fi
}

# While packages are installed, policy-rc.d forbids to start services; afterwards the services that came
# with them are disabled, and what stood at policy-rc.d before is put back.
install_packages() {
    local policy=/usr/sbin/policy-rc.d saved='' status=0 package
    if [[ -e $policy ]]; then
        saved=$policy.before-roomcast
        as_root mv "$policy" "$saved"
    fi
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 update &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 \
            install --no-install-recommends "$@" || status=$?
    as_root rm -f "$policy"
    if [[ -n $saved ]]; then
        as_root mv "$saved" "$policy"
    fi
    for package in "$@"; do
        if [[ -e /etc/init.d/$package ]]; then
            as_root update-rc.d "$package" disable || true
        fi
    done
    return "$status"
}

ensure_packages() {
    local missing check
    mkdir -p "$log_directory"
    # One installation at a time, also when run and test are started together.
    exec {install_lock}>"$root/.run/install.lock"
    flock "$install_lock"
    mapfile -t missing < <(for check in "${package_checks[@]}"; do "$check"; done)
    if ((${#missing[@]} > 0)); then
        if ! command -v apt-get >/dev/null; then
            fail "no apt-get here: install what stands for the Debian packages ${missing[*]}"
        fi
        if ((EUID != 0)) && ! sudo -n true 2>/dev/null; then
            fail "missing: run as root: apt-get install --no-install-recommends ${missing[*]}"
        fi
        say "Installing ${missing[*]}"
        # A Ctrl-C waits for the end, so that policy-rc.d is always put back.
        trap '' INT TERM
        quietly apt install_packages "${missing[@]}"
        trap - INT TERM
    fi
    exec {install_lock}>&-
}

ensure_swift() {
    local advice='get Swift 6 from https://www.swift.org/install/linux/ and put its usr/bin into PATH'
    local version
    command -v swift >/dev/null || fail "swift is not in PATH: $advice"
    version=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9][0-9.]*\).*/\1/p')
    if [[ ! $version =~ ^[0-9]+ ]] || ((BASH_REMATCH[0] < 6)); then
        fail "$(command -v swift) is version '${version:-unknown}': $advice"
    fi
}

ensure_venv() {
    exec {venv_lock}>"$root/.run/venv.lock"
    flock "$venv_lock"
    local check='import sys; from importlib.metadata import version
for name, wanted in (package.split("==") for package in sys.argv[1:]): assert version(name) == wanted'
    if ! "$venv_python" -c "$check" "${python_packages[@]}" 2>/dev/null; then
        say "Installing into .venv: ${python_packages[*]}"
        if ! "$venv_python" -m pip --version >/dev/null 2>&1; then
            quietly venv python3 -m venv --clear "$root/.venv"
        fi
        quietly pip "$venv_python" -m pip install --quiet "${python_packages[@]}"
    fi
    exec {venv_lock}>&-
}

# Runs a program of scripts/lib in place of this script, with what several of them share. Their --help needs no .venv.
run_python() {
    local python=$venv_python
    [[ -x $python ]] || python=python3
    export PYTHONPATH=$root/scripts/lib
    exec "$python" -B "$root/scripts/lib/$1" "${@:2}"
}

# Ends the script if ROOMCAST_REDIS_SERVER, or redis-server without it, is no server, before a thousand tests say so.
# Fills `server_version`: "Valkey 9.1.2".
ensure_redis_server() {
    local program=${ROOMCAST_REDIS_SERVER:-redis-server} answer
    answer=$(timeout 10 "$program" --version 2>&1 </dev/null | head -n 1) || true
    server_version=$(sed -n 's/^\([A-Za-z]*\) server v=\([^ ]*\).*/\1 \2/p' <<<"$answer")
    if [[ -z $server_version ]]; then
        fail "ROOMCAST_REDIS_SERVER=$program is no Redis server; with --version it says: ${answer:-nothing}"
    fi
}

build_release() {
    say 'Building (release)'
    quietly build swift build "${swift_package[@]}" -c release
}

# Prints the directory of the binaries that build_release made.
release_directory() {
    swift build "${swift_package[@]}" -c release --show-bin-path
}

# Builds the programs and runs one of scripts/lib with their directory. Its --help needs neither.
run_with_binaries() {
    local argument binaries
    for argument in "${@:2}"; do
        if [[ $argument == --help || $argument == -h ]]; then
            run_python "$1" --help
        fi
    done
    ensure_swift
    # On stderr: stdout is for the result.
    {
        ensure_packages
        ensure_venv
        build_release
    } >&2
    binaries=$(release_directory)
    run_python "$1" --binaries "$binaries" "${@:2}"
}
