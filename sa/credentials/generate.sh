#!/bin/sh
# Draws the keys of S3, an API key for the pipeline and what webhooks are signed with into files
# beside this script that git ignores, once: what is there stays. The MinIO job makes its two users from the same keys.
set -eu
umask 077
cd "$(dirname "$0")"

for name in read write; do
    file=s3-$name.env
    if [ -e "$file" ]; then
        echo "$file is there and stays"
        continue
    fi
    secret=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
    printf 'AWS_ACCESS_KEY_ID=gliner-%s\nAWS_SECRET_ACCESS_KEY=%s\n' "$name" "$secret" >"$file.new"
    mv "$file.new" "$file"
    echo "$file is new"
done

# What MLflow signs its webhooks with, for the service that takes them.
if [ -e reviews.env ]; then
    echo "reviews.env is there and stays"
else
    printf 'secret=%s\n' "$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')" >reviews.env.new
    mv reviews.env.new reviews.env
    echo "reviews.env is new"
fi

# The pipeline's own key for predictors that ask for one: its rollouts are callers like others.
if [ -e api-key.env ]; then
    echo "api-key.env is there and stays"
else
    printf 'key=%s\n' "$(./add-key.sh pipeline)" >api-key.env.new
    mv api-key.env.new api-key.env
    echo "api-key.env is new"
fi
