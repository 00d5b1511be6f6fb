#!/bin/sh
# The second half of a restore: the database from the dump in $WORK. What is in it now is dropped.
set -eu

tail -n 1 "$WORK/mlflow.sql" | grep -q '^-- Dump completed'
mysql -h "$MYSQL_HOST" -u mlflow --default-character-set=utf8mb4 <"$WORK/mlflow.sql"
