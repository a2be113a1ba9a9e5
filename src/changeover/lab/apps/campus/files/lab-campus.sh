#!/bin/sh
# Before Tomcat's first start: the repository and the first release on the head node, that release on the others.
# Arguments: first release, head node's name.
set -eu
release=$1 head=$2
if [ "$(hostname)" = "$head" ] && [ ! -e "/srv/campus/built/$release" ]; then
    rm -rf /srv/campus/campus.git /srv/campus/src
    git init --quiet --bare --initial-branch=main /srv/campus/campus.git
    git --git-dir=/srv/campus/campus.git fast-import --quiet </etc/lab/campus.stream
    git clone --quiet /srv/campus/campus.git /srv/campus/src
    git -C /srv/campus/src checkout --quiet --detach "campus-$release"
    /srv/campus/src/build "/srv/campus/built/$release.partial"
    mv "/srv/campus/built/$release.partial" "/srv/campus/built/$release"
    chown -R deploy: /srv/campus
fi
target=/opt/campus/releases/$release
if [ ! -e "$target" ]; then
    until rsync --archive --no-owner --no-group "rsync://$head/built/$release/" "$target.partial" 2>/dev/null; do
        sleep 0.2
    done
    mv "$target.partial" "$target"
fi
