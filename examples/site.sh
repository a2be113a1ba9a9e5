# For the examples' `site` scripts, which source it: the hosts of the lab, and how to get things onto them.
# shellcheck shell=bash disable=SC2034
lab=$CHANGEOVER_LAB_DIRECTORY
lb1=10.77.0.11 db1=10.77.0.12
nodes=(10.77.0.21 10.77.0.22 10.77.0.23)

on() { # ADDRESS: runs the script on its standard input there, as root
    ssh -F none -i "$lab/operator_key" -o "UserKnownHostsFile=$lab/known_hosts" -o IdentitiesOnly=yes \
        "deploy@$1" "sudo ${2:-bash -eu}"
}
put() { # ADDRESS PATH MODE GROUP: writes its standard input there
    on "$1" "install -D -o root -g $4 -m $3 /dev/stdin $2"
}
secret() { # DIRECTORY/NAME: prints 32 random bytes as URL-safe base64, made up the first time
    local file=$lab/$1
    mkdir -p "${file%/*}"
    [ -s "$file" ] || (umask 077 && head -c 32 /dev/urandom | base64 --wrap=0 | tr '+/' '-_' >"$file")
    cat "$file"
}
each_node() { # FUNCTION: calls it with each node's address, all at once
    local pids=() pid
    for node in "${nodes[@]}"; do
        "$1" "$node" &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid"; done
}
offer() { # ARCHIVE...: where every host finds them, /srv/releases/EXAMPLE-VERSION.tar.gz
    local archive name
    for archive in "$@"; do
        name=$(basename "$archive")
        cp --update "$archive" "$lab/releases/${name%-*}.tar.gz"
    done
}
make_database() { # NAME PASSWORD: a database and its owner
    on $db1 'runuser -u postgres -- psql --quiet --no-psqlrc --set=ON_ERROR_STOP=1' <<SQL
SET client_min_messages = warning;
SELECT 'CREATE ROLE $1 LOGIN CREATEDB' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '$1') \gexec
ALTER ROLE $1 PASSWORD '$2';
-- A restore ends the sessions of others first.
GRANT pg_signal_backend TO $1;
SELECT 'CREATE DATABASE $1 OWNER $1' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '$1') \gexec
-- Whoever waits for a lock, and for how long, is in PostgreSQL's log.
ALTER SYSTEM SET log_lock_waits = on;
ALTER SYSTEM SET deadlock_timeout = '100ms';
SELECT pg_reload_conf() \g /dev/null
SQL
}
unpack() { # ADDRESS EXAMPLE VERSION: the application instead of the lab's own, as a user of its name
    on "$1" <<SH
systemctl disable --now --quiet lab-app.service
id $2 >/dev/null 2>&1 || useradd --system --home-dir /var/lib/$2 --create-home --shell /usr/sbin/nologin $2
release=/opt/$2/releases/$3
if [ ! -e "\$release" ]; then
    mkdir -p "\$release.partial"
    tar -xzf /srv/releases/$2-$3.tar.gz -C "\$release.partial"
    mv "\$release.partial" "\$release"
fi
[ -e /opt/$2/current ] || ln -s releases/$3 /opt/$2/current
SH
}
start() { # UNIT: on all nodes
    local node
    for node in "${nodes[@]}"; do on "$node" <<<"systemctl daemon-reload; systemctl enable --now --quiet $1"; done
}
answering() { # PATH: waits until every node answers there with success, two minutes at most
    python3 - "$1" "${nodes[@]}" <<'PY'
import sys, time, urllib.request

path, *nodes = sys.argv[1:]
end = time.monotonic() + 120
for node in nodes:
    while True:
        try:
            urllib.request.urlopen(f"http://{node}:8080{path}", timeout=10).close()
            break
        except OSError as error:
            if time.monotonic() > end:
                sys.exit(f"site: {node} does not answer: {error}")
            time.sleep(0.2)
PY
}
make_balancer() { # writes its standard input as the configuration
    put $lb1 /etc/haproxy/haproxy.cfg 644 root
    on $lb1 <<'SH'
haproxy -c -q -f /etc/haproxy/haproxy.cfg
systemctl restart haproxy.service
SH
}
