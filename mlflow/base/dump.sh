#!/bin/sh
# The first half of a backup: MLflow's database as it is at one moment, compressed, into $WORK.
set -eu

date -u +%Y%m%dT%H%M%SZ >"$WORK/stamp"
# One transaction: MLflow goes on writing meanwhile. No GTIDs, which only an administrator could
# load again; MariaDB does not know the option. No tablespaces, which want a right of their own.
# No pipe: it would hide that the dump failed.
mysqldump -h "$MYSQL_HOST" -u mlflow --single-transaction --quick --hex-blob --no-tablespaces \
    --loose-set-gtid-purged=OFF --default-character-set=utf8mb4 \
    --add-drop-database --databases mlflow --result-file="$WORK/mlflow.sql"
tail -n 1 "$WORK/mlflow.sql" | grep -q '^-- Dump completed'
gzip -f "$WORK/mlflow.sql"
cd "$WORK"
sha256sum mlflow.sql.gz >mlflow.sql.gz.sha256
