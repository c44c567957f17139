# Shell of scripts/package --check: what the package is worth on a machine that has nothing but Debian. Sourced after
# prerequisites.sh.
# shellcheck shell=bash disable=SC2154

# No directive is misspelt (the program and its manual are not installed here), and little is exposed: systemd's
# points, of which 0 is best, times ten.
check_unit() {
    local unit=$root/packaging/roomcast-gateway.service said setting
    said=$(systemd-analyze verify "$unit" 2>&1 | grep -v -e 'is not executable' -e "Command 'man " || true)
    [[ ! $said ]] || fail "$said"
    for setting in LimitCORE=0 MemoryMax=; do
        grep -q "^$setting" "$unit" || fail "the unit has no $setting"
    done
    systemd-analyze security --offline=true --threshold=15 --no-pager "$unit" | tail -n 1
}

# check_page TREE PAGE COMMAND...: each option of the command has its paragraph in the page, and no program has
# another name there than it is installed under.
check_page() {
    local page option stray words
    page=$(zcat "$1/usr/share/man/"man[18]"/$2".?.gz)
    page=${page//\\/}
    while read -r option; do
        [[ $page == *$'.TP\n'"fB${option//, /fR, fB}fR"* ]] || fail "$2: $option is not in its manual"
    done < <("${@:3}" --help | sed -nE 's/^  ((-h, )?--[a-z-]+).*/\1/p')
    words=$(subcommands "$3" | sed 's/^/|/' | tr -d '\n')
    stray=$(tr '\n' ' ' <<<"$page" | grep -oE "[^-a-z](gateway|publisher|loadtest) +(--$words)" || true)
    [[ ! $stray ]] || fail "$2: not what is installed:$stray"
}

# check_manual TREE: programs and their subcommands have pages, as many as there is prose for.
check_manual() {
    local program name word prose
    for program in "$1"/usr/bin/*; do
        name=${program##*/}
        check_page "$1" "$name" "$program"
        for word in $(subcommands "$program"); do check_page "$1" "$name-$word" "$program" "$word"; done
    done
    for prose in "$root"/packaging/man/*.h2m; do
        name=$(basename "$prose" .h2m)
        compgen -G "$1/usr/share/man/man[18]/$name.[18].gz" >/dev/null || fail "no page is made of $name.h2m"
    done
}

# check_completions TREE: in each shell, the way it finds them, for the names that are installed.
check_completions() {
    local name share=$1/usr/share program
    # shellcheck disable=SC2016
    local in_bash='source "$1/bash-completion/completions/$2" && complete -p "$2" >/dev/null &&
        COMP_WORDS=("$2" --completion) COMP_CWORD=1 && "_$2" && [[ ${COMPREPLY[*]} == --completions ]]'
    # shellcheck disable=SC2016
    local in_zsh='fpath=("$1/zsh/vendor-completions" $fpath); autoload -Uz compinit && compinit -u -D &&
        [[ $_comps[$2] == "_$2" ]] && autoload +X "_$2"'
    # shellcheck disable=SC2016
    local in_fish='set fish_complete_path "$argv[1]/fish/vendor_completions.d"
        string match -q -- "--completions*" (complete -C "$argv[2] --completion")'
    for program in "$1"/usr/bin/*; do
        name=${program##*/}
        bash --norc -c "$in_bash" bash "$share" "$name" || fail "$name: bash does not complete it"
        zsh -fc "$in_zsh" zsh "$share" "$name" || fail "$name: zsh does not complete it"
        # fish looks only for completions of what there is to call.
        PATH=$1/usr/bin:$PATH fish --no-config -c "$in_fish" "$share" "$name" ||
            fail "$name: fish does not complete it"
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
    say 'Manual and completions'
    check_manual "$(dirname "$package")/tree"
    check_completions "$(dirname "$package")/tree"
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
