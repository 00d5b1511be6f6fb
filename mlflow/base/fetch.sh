#!/bin/sh
# The first half of a restore: the bucket's files as they were at the backup $FROM, `latest` or a
# name in $BACKUP/dumps, and its dump into $WORK. Files that came later stay: no table names them.
set -eu

[ "$FROM" != latest ] || FROM=$(rclone lsf --dirs-only "$BACKUP/dumps" | sort | tail -n 1)
FROM=${FROM%/}
echo "backup $FROM"
rclone copy "$BACKUP/dumps/$FROM" "$WORK"
cd "$WORK"
# Before anything is changed.
sha256sum -c mlflow.sql.gz.sha256
gzip -df mlflow.sql.gz

rclone copy "$BACKUP/bucket" "$BUCKET"
rclone lsf --dirs-only "$BACKUP" | grep -qx replaced/ || exit 0
# What was replaced after the backup, the earliest last: that is how the file was at the backup.
rclone lsf --dirs-only "$BACKUP/replaced" | sort -r | while read -r later; do
    if [ "${later%/}" != "$FROM" ] &&
        [ "$(printf '%s\n' "${later%/}" "$FROM" | sort | head -n 1)" = "$FROM" ]; then
        rclone copy "$BACKUP/replaced/$later" "$BUCKET"
    fi
done
