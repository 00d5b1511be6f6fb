#!/bin/sh
# The second half of a backup: the bucket and then the dump to $BACKUP, and old ones away.
#
#   $BACKUP/dumps/TIME/      a dump and its checksum: a backup is whole once its dump is here
#   $BACKUP/bucket/          the bucket as the last backup found it
#   $BACKUP/replaced/TIME/   what that backup found changed or deleted, as it was before
set -eu

[ "$KEEP" -ge 1 ]
stamp=$(cat "$WORK/stamp")
# Also when there is no file yet, so that a restore can tell that from a loss.
rclone mkdir "$BACKUP/bucket"
# After the dump: all files that it names were written before it.
rclone sync "$BUCKET" "$BACKUP/bucket" --backup-dir "$BACKUP/replaced/$stamp"
rclone copy "$WORK" "$BACKUP/dumps/$stamp" --include 'mlflow.sql.gz*'
echo "backup $stamp"

# By number, not by age: backups that fail for weeks take none of the good ones away.
rclone lsf --dirs-only "$BACKUP/dumps" | sort | head -n "-$KEEP" | while read -r old; do
    rclone purge "$BACKUP/dumps/$old"
done
oldest=$(rclone lsf --dirs-only "$BACKUP/dumps" | sort | head -n 1)
# Going back to a backup takes what was replaced after it.
rclone lsf --dirs-only "$BACKUP" | grep -qx replaced/ || exit 0
rclone lsf --dirs-only "$BACKUP/replaced" | while read -r old; do
    if [ "$(printf '%s\n' "$old" "$oldest" | sort | tail -n 1)" = "$oldest" ]; then
        rclone purge "$BACKUP/replaced/$old"
    fi
done
