#!/bin/sh
# Starts Courier again whenever it is not there, whoever has ended it.
while :; do
    systemctl is-active --quiet courier.service || systemctl start courier.service
    sleep 0.5
done
