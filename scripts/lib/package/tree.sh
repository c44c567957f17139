# Shell of scripts/package: lays out the package's tree and makes the package. Sourced after prerequisites.sh.
# shellcheck shell=bash disable=SC2154

# The words behind which a program has further options: what stands in its usage, where it has its own name.
# subcommands BINARY
subcommands() {
    local name=${1##*/}
    "$1" --help | sed -nE "s/^(Usage:|      ) ${name#roomcast-} ([a-z]+) .*/\2/p" | sort -u
}

# Prints the help or the version of a program, or of one of its subcommands, as the installed program is called and in
# the form in which help2man expects further usage lines. WORDS are the subcommands, a | in front of each.
# named PAGE WORDS COMMAND...
named() {
    # The first line of --help is the version again, and what the program is for.
    "${@:3}" | sed -zE -e 's/^[^\n]*:[^\n]*\n//' -e "s/^[a-z ]+ ([0-9.]+\n)\$/$1 \1/" \
        -e 's/\n(Usage: |       )(gateway|publisher|loadtest)\>/\n\1roomcast-\2/g' \
        -e 's/\n {7}roomcast-/\n  or:  roomcast-/g' \
        -e "s/(^|[^-a-z])(gateway|publisher|loadtest)([ \n]+)(--$2)\>/\1roomcast-\2\3\4/g"
}

# man_page PAGE SECTION TREE BINARY [SUBCOMMAND]: from its --help and --version and the prose in packaging/man.
man_page() {
    local page=$1 section=$2 ask=$3/ask-$1 directory=$3/usr/share/man/man$2 words
    words=$(subcommands "$4" | sed 's/^/|/' | tr -d '\n')
    # shellcheck disable=SC2016
    printf '#!/bin/bash\n%s\nnamed %q %q%s "$1"\n' \
        "$(declare -f named)" "$page" "$words" "$(printf ' %q' "${@:4}")" >"$ask"
    chmod 755 "$ask"
    mkdir -p "$directory"
    # No reference to an info page: there is none.
    help2man --no-info --section "$section" --include "$root/packaging/man/$page.h2m" "$ask" |
        sed "s/ask-$page/$page/g; s/ASK-${page^^}/${page^^}/g" |
        gzip -9n >"$directory/$page.$section.gz"
    rm "$ask"
}

# The pages of a program and of its subcommands: `man roomcast-publisher revoke` finds those, too.
# man_pages BINARY NAME SECTION TREE
man_pages() {
    local word
    man_page "$2" "$3" "$4" "$1"
    for word in $(subcommands "$1"); do man_page "$2-$word" "$3" "$4" "$1" "$word"; done
}

# install_completions NAME TREE: where Debian's shells look, for the name that the program has there.
install_completions() {
    local name=$1 share=$2/usr/share shell path
    for shell in bash zsh fish; do
        case $shell in
        bash) path=bash-completion/completions/$name ;;
        zsh) path=zsh/vendor-completions/_$name ;;
        fish) path=fish/vendor_completions.d/$name.fish ;;
        esac
        install -D -m 644 /dev/null "$share/$path"
        "$2/usr/bin/$name" --completions "$shell" >"$share/$path"
    done
}

# The day of the newest commit, so that the same sources make the same package.
source_date() {
    git -C "$root" log -1 --format=%ct 2>/dev/null || date +%s
}

# changelog VERSION: in Debian's form; it names the release and refers to CHANGELOG.md.
changelog() {
    printf 'roomcast (%s) unstable; urgency=medium\n\n' "$1"
    printf '  * Release %s. See CHANGELOG.md.gz.\n\n' "$1"
    printf ' -- %s  %s\n' "$maintainer" "$(date -u -R -d "@$SOURCE_DATE_EPOCH")"
}

install_documentation() {
    local tree=$1 version=$2 documentation=$1/usr/share/doc/roomcast example page
    mkdir -p "$documentation/examples"
    install -m 644 "$root/packaging/debian/copyright" "$documentation/copyright"
    changelog "$version" | gzip -9n >"$documentation/changelog.gz"
    gzip -9n <"$root/CHANGELOG.md" >"$documentation/CHANGELOG.md.gz"
    for page in OPERATIONS REFERENCE; do
        gzip -9n <"$root/docs/$page.md" >"$documentation/$page.md.gz"
    done
    for example in redis.conf redis-certificates redis-cluster stunnel.conf nginx.conf prometheus.yml alerts.yml grafana/dashboards/roomcast.json; do
        install -m 644 "$root/deploy/$example" "$documentation/examples/"
    done
    install -D -m 644 "$root/packaging/debian/lintian-overrides" "$tree/usr/share/lintian/overrides/roomcast"
}

# What the programs load, with the versions of this Debian.
dependencies() {
    local work
    work=$(mktemp -d)
    mkdir "$work/debian"
    printf 'Source: roomcast\n\nPackage: roomcast\nArchitecture: any\n' >"$work/debian/control"
    (cd "$work" && dpkg-shlibdeps -O "${@/#/-e}" 2>/dev/null) | sed -n 's/^shlibs:Depends=//p'
    rm -r "$work"
}

install_control() {
    local tree=$1 version=$2 script depends size
    mkdir "$tree/DEBIAN"
    for script in postinst prerm postrm; do
        install -m 755 "$root/packaging/debian/$script" "$tree/DEBIAN/"
    done
    printf '/etc/roomcast/gateway.env\n' >"$tree/DEBIAN/conffiles"
    (cd "$tree" && find lib usr -type f -print0 | sort -z | xargs -0 md5sum) >"$tree/DEBIAN/md5sums"
    depends=$(dependencies "$tree"/usr/bin/*)
    [[ $depends ]] || fail 'no dependencies: dpkg-shlibdeps has failed'
    size=$(du -sk --exclude=DEBIAN "$tree" | cut -f1)
    sed -e "s/@version@/$version/; s/@architecture@/$(dpkg --print-architecture)/; s/@size@/$size/" \
        -e "s/@maintainer@/$maintainer/; s/@depends@/$depends/" \
        "$root/packaging/debian/control.in" >"$tree/DEBIAN/control"
}

# build_package BINARIES DIRECTORY: prints the path of the package.
build_package() {
    local tree=$2/tree version program section package
    # Directories and files of the package are for everybody, whatever the checkout's are.
    umask 022
    maintainer="${DEBFULLNAME:-The authors of Roomcast} <${DEBEMAIL:-roomcast@localhost.localdomain}>"
    SOURCE_DATE_EPOCH=$(source_date)
    export SOURCE_DATE_EPOCH
    version=$("$1/gateway" --version | cut -d ' ' -f 2)
    rm -rf "$tree"
    mkdir -p "$tree/usr/bin" "$tree/etc/roomcast"
    for program in gateway publisher loadtest; do
        install -m 755 "$1/$program" "$tree/usr/bin/roomcast-$program"
        strip --strip-unneeded --remove-section=.comment --remove-section=.note "$tree/usr/bin/roomcast-$program"
        section=1
        [[ $program != gateway ]] || section=8
        man_pages "$1/$program" "roomcast-$program" "$section" "$tree"
        install_completions "roomcast-$program" "$tree"
    done
    install -m 640 "$root/packaging/gateway.env" "$tree/etc/roomcast/"
    install -D -m 644 -t "$tree/lib/systemd/system" "$root/packaging/roomcast-gateway.service"
    install_documentation "$tree" "$version"
    install_control "$tree" "$version"
    chmod -R go-w "$tree"
    package=$2/roomcast_${version}_$(dpkg --print-architecture).deb
    dpkg-deb --root-owner-group --build "$tree" "$package" >/dev/null
    printf '%s\n' "$package"
}
