#!/bin/sh
# Run once by the Postgres image in an empty cluster: three databases, one role each, which sees no other.
set -eu
for role in marquee airflow mlflow; do
  eval "password=\$$(echo "$role" | tr '[:lower:]' '[:upper:]')_PASSWORD"
  psql -v ON_ERROR_STOP=1 -U postgres -d postgres -v role="$role" -v password="$password" <<'SQL'
CREATE ROLE :"role" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'password';
CREATE DATABASE :"role" OWNER :"role";
REVOKE ALL ON DATABASE :"role" FROM PUBLIC;
SQL
done
