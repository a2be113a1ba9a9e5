# Leaves nothing in PostgreSQL but what a new server has: snapshots and scratch copies go as well.
set -e
systemctl start postgresql@15-main.service
runuser -u postgres -- psql --quiet --no-psqlrc --set=ON_ERROR_STOP=1 >/dev/null <<'SQL'
SELECT format('DROP DATABASE %I WITH (FORCE)', datname) FROM pg_database
WHERE NOT datistemplate AND datname <> 'postgres' \gexec
DROP ROLE IF EXISTS app;
SQL
