#!/bin/sh
# One service of the embedded lab: start, stop, status, reload. The process holds a lock for as long as it lives, so
# that nobody mistakes another process of the same number for it.
set -eu
cd "$(dirname "$0")"
. ./service.env
exec 9>service.lock

case ${1:-} in
start)
    flock --nonblock 9 || exit 0
    $BEFORE_START
    setsid sh -c "exec $COMMAND" </dev/null >>service.log 2>&1 &
    echo $! >service.pid
    ;;
stop)
    flock --nonblock 9 && exit 0
    kill -s "$STOP_SIGNAL" "$(cat service.pid)"
    # Nobody else holds the lock: it is free when the process has ended.
    flock --wait "$STOP_SECONDS" 9 || { echo "still running after $STOP_SECONDS s" >&2; exit 1; }
    ;;
status)
    if flock --nonblock 9; then echo stopped; exit 3; else echo running; fi
    ;;
reload)
    $BEFORE_RELOAD
    kill -s USR2 "$(cat service.pid)"
    ;;
*)
    echo "usage: $0 start|stop|status|reload" >&2
    exit 2
    ;;
esac
