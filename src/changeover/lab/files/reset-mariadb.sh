# Leaves nothing in MariaDB but what a new server has: snapshots and scratch copies go as well.
set -e
systemctl start mariadb.service
mariadb --skip-column-names --execute='SHOW DATABASES' |
    grep -vxE 'mysql|sys|information_schema|performance_schema' |
    while read -r name; do
        mariadb --execute="DROP DATABASE \`$name\`"
    done
mariadb --skip-column-names --execute="SELECT CONCAT('DROP USER ', QUOTE(user), '@', QUOTE(host), ';') FROM mysql.user WHERE host = '%'" |
    mariadb
