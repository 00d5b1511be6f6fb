#!/bin/sh
# Makes the buckets, and the two users of S3 with what each may do. What is there stays, but keys
# and policies become those that are given.
set -eu

until mc alias set store "$S3_ENDPOINT" "$ROOT_USER" "$ROOT_PASSWORD" >/dev/null 2>&1; do
    sleep 2
done
for bucket in mlflow data; do
    mc mb --ignore-existing "store/$bucket"
done
# A version that was overwritten or deleted by mistake can be had back for a month.
mc version enable store/mlflow
mc ilm rule remove --all --force store/mlflow 2>/dev/null || true
mc ilm rule add --noncurrent-expire-days 30 store/mlflow

user() {
    mc admin policy create store "$1" "/policies/$1.json"
    mc admin user add store "$2" "$3"
    # Says that it is attached already, as an error.
    mc admin policy attach store "$1" --user "$2" 2>/dev/null || true
}
user read "$READ_KEY" "$READ_SECRET"
user write "$WRITE_KEY" "$WRITE_SECRET"
