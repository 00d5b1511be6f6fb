#!/bin/sh
# Draws MLflow's, MySQL's and MinIO's secrets into files beside this script that git ignores, once:
# what is there stays. The keys of S3 are those that sa/credentials/generate.sh has drawn.
set -eu
umask 077
cd "$(dirname "$0")"

draw() {
    od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'
}

# keep FILE: takes what comes, unless the file is there.
keep() {
    if [ -e "$1" ]; then
        echo "$1 is there and stays"
        cat >/dev/null
    else
        cat >"$1.new"
        mv "$1.new" "$1"
        echo "$1 is new"
    fi
}

password=$(draw 24)
printf 'password=%s\nuri=mysql+pymysql://mlflow:%s@mysql:3306/mlflow\n' "$password" "$password" | keep mlflow-database.env  # pragma: allowlist secret
printf 'password=%s\n' "$(draw 24)" | keep mysql-root.env
printf 'password=%s\n' "$(draw 24)" | keep mysql-reader.env
printf 'user=root-%s\npassword=%s\n' "$(draw 4)" "$(draw 24)" | keep minio-root.env
# A Fernet key: 32 bytes in the alphabet of web addresses.
printf 'encryption-key=%s\n' "$(head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n')" | keep mlflow-webhooks.env
for name in read write; do
    keep "s3-$name.env" <"../../sa/credentials/s3-$name.env"
done
