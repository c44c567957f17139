# Shell of scripts/package --check: what the package is worth on a machine that has nothing but Debian. Sourced after
# prerequisites.sh.
# shellcheck shell=bash disable=SC2154

# No directive is misspelt (the program and its manual are not installed here), and little is exposed: systemd's
# points, of which 0 is best, times ten.
check_unit() {
    local unit=$root/packaging/roomcast-gateway.service said
    said=$(systemd-analyze verify "$unit" 2>&1 | grep -v -e 'is not executable' -e "Command 'man " || true)
    [[ ! $said ]] || fail "$said"
    systemd-analyze security --offline=true --threshold=15 --no-pager "$unit" | tail -n 1
}

# check_manual TREE: each option of each program is in its page.
check_manual() {
    local program page option
    for program in "$1"/usr/bin/*; do
        page=$(zcat "$1/usr/share/man/"man[18]"/${program##*/}".?.gz)
        while read -r option; do
            [[ ${page//\\/} == *"$option"* ]] || fail "${program##*/}: $option is not in its manual"
        done < <("$program" --help | grep -oE '^  (-h, )?--[a-z-]+' | grep -oE '\-\-[a-z-]+')
    done
}

check_lintian() {
    lintian --fail-on error,warning --tag-display-limit 0 "$1"
}

# make_chroot DIRECTORY PACKAGE: Debian without recommended packages, with redis-server, with the package, and with
# what apt would fetch for it: the check itself has no network.
make_chroot() {
    local suite
    suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    # The lists and the cache of apt stay.
    mmdebstrap --quiet --mode=root --variant=minbase --include=redis-server \
        --skip=cleanup/apt --customize-hook="copy-in $2 /" \
        --customize-hook="chroot \"\$1\" apt-get -q install -y --no-install-recommends --download-only /${2##*/}" \
        "$suite" "$1"
}

# In the chroot: nothing of the package is there before, the node works between, nothing is left after.
check_in_chroot() {
    local directory=$1 package=$2
    quietly package-chroot make_chroot "$directory" "$package"
    install -m 755 "$root/scripts/lib/package/chroot-check" "$directory/root/chroot-check"
    # Own namespaces: whatever is started ends with the check, and loopback is its own.
    unshare --mount --pid --net --fork --kill-child \
        chroot "$directory" /root/chroot-check "/$(basename "$package")"
}

check_package() {
    local package=$1
    say 'Unit'
    check_unit
    check_manual "$(dirname "$package")/tree"
    say 'lintian'
    check_lintian "$package"
    say 'Clean Debian'
    ((EUID == 0)) || fail '--check makes a Debian in a directory: it has to be root'
    # Not local: the trap reads it when the functions have ended.
    chroot_directory=$(mktemp -d /var/tmp/roomcast-package.XXXXXX)
    # The directory is ours alone, and nothing is mounted in it once the namespace is gone.
    trap 'rm -rf --one-file-system "$chroot_directory"' EXIT
    check_in_chroot "$chroot_directory" "$package"
}
