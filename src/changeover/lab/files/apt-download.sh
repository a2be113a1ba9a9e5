#!/bin/sh
# Downloads Debian packages, and nothing they depend on, into a directory; needs no root.
# Where the machine's package lists are missing or too old, it fetches lists of its own, kept in that directory.
# Arguments: the directory, the packages.
set -eu
cd "$1"
shift
apt-get -qq download "$@" 2>/dev/null && exit
state=$PWD/apt
mkdir -p "$state/lists/partial" "$state/archives/partial"
own() {
    apt-get -qq -o "Dir::State=$state" -o "Dir::State::lists=$state/lists" -o Dir::State::status=/var/lib/dpkg/status \
        -o "Dir::Cache=$state" "$@"
}
own update
own download "$@"
