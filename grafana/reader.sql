-- The account that Grafana reads MLflow's database with. Run once as an administrator, with a
-- password of your own in @password: { echo "SET @password = '…';"; cat reader.sql; } | mysql
SET @made = CONCAT('CREATE USER IF NOT EXISTS ''grafana''@''%'' IDENTIFIED BY ', QUOTE(@password));
PREPARE made FROM @made;
EXECUTE made;
DEALLOCATE PREPARE made;

-- Reading, and nothing else: not even the secrets of MLflow's webhooks, which the table
-- `webhooks` has, encrypted. Views and procedures are none of its business either.
GRANT SELECT ON mlflow.alembic_version TO 'grafana'@'%';
GRANT SELECT ON mlflow.experiments TO 'grafana'@'%';
GRANT SELECT ON mlflow.latest_metrics TO 'grafana'@'%';
GRANT SELECT ON mlflow.model_version_tags TO 'grafana'@'%';
GRANT SELECT ON mlflow.model_versions TO 'grafana'@'%';
GRANT SELECT ON mlflow.registered_model_aliases TO 'grafana'@'%';
GRANT SELECT ON mlflow.registered_model_tags TO 'grafana'@'%';
GRANT SELECT ON mlflow.registered_models TO 'grafana'@'%';
GRANT SELECT ON mlflow.runs TO 'grafana'@'%';
GRANT SELECT ON mlflow.tags TO 'grafana'@'%';
