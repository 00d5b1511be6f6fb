"""`doctor` on MLflow's database: it can be reached, its tables are sound, rights suffice."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pipeline.doctor.finding import Finding, ok, unset, wrong
from pipeline.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.engine import URL

AREA = "database"
READER = "database reader"
WRITES = frozenset(("INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "DROP", "INDEX", "REFERENCES"))
"""What MLflow needs besides SELECT; it upgrades its own tables."""
_GRANT = re.compile(r"^GRANT (?P<rights>.+?) ON (?:TABLE )?(?P<object>.+?\..+?) TO ", re.IGNORECASE)
_REMEDIES = {
    1044: "grant the account its database: GRANT ALL ON {database}.* TO {user}@'%'",
    1045: "check user and password, and that the account exists for this host; a new MariaDB "
    "has anonymous local users, so make it for 'localhost' as well as '%'",
    1049: "make it: CREATE DATABASE {database} CHARACTER SET utf8mb4",
}


def check(settings: Settings) -> Iterator[Finding]:
    """The account of MLflow, and Grafana's where it is named."""
    yield from _account(settings, AREA, settings.database_url.get_secret_value(), _writer)
    yield from _account(settings, READER, settings.database_reader_url.get_secret_value(), _reader)


def _account(settings: Settings, area: str, address: str, look: Any) -> Iterator[Finding]:
    from sqlalchemy import create_engine
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
    from sqlalchemy.pool import NullPool

    name = f"PIPELINE_{area.replace(' ', '_').upper()}_URL"
    if not address:
        yield unset(area, f"not configured ({name})")
        return
    try:
        url = make_url(address)
        if url.get_backend_name() not in ("mysql", "mariadb"):
            # The address is shown without its password.
            yield unset(area, f"{url} is not looked at; Grafana's SQL is for MySQL and MariaDB")
            return
        engine = create_engine(
            url,
            poolclass=NullPool,
            connect_args={"connect_timeout": int(settings.http_timeout_seconds)},
        )
    except (ArgumentError, NoSuchModuleError, ValueError):
        yield wrong(
            area, "its address cannot be read", f"{name}=mysql+pymysql://USER@HOST/DATABASE"
        )
        return
    try:
        with engine.connect() as connection:
            yield from look(connection, url)
    except SQLAlchemyError as error:
        yield _unreachable(area, url, error)


def _unreachable(area: str, url: URL, error: Any) -> Finding:
    """What PyMySQL said; its texts name user and host and no password."""
    code, text = (
        (*getattr(error.orig, "args", ()), 0, "")[:2] if hasattr(error, "orig") else (0, "")
    )
    remedy = _REMEDIES.get(code, f"is it up at {url.host}:{url.port or 3306}, and may we reach it?")
    said = str(text or type(error).__name__).splitlines()[0][:300]
    return wrong(
        area, f"{url.host}: {said}", remedy.format(database=url.database, user=url.username)
    )


def _writer(connection: Connection, url: URL) -> Iterator[Finding]:
    server, engine, charset = _row(
        connection, "SELECT version(), @@default_storage_engine, @@character_set_database"
    )
    yield ok(AREA, f"{server} at {url.host}, database {url.database}")
    if engine != "InnoDB":
        yield wrong(
            AREA, f"new tables are made as {engine}", "set default_storage_engine=InnoDB there"
        )
    if charset != "utf8mb4":
        yield wrong(
            AREA,
            f"its character set is {charset}, which cannot hold all texts",
            f"ALTER DATABASE {url.database} CHARACTER SET utf8mb4",
        )
    foreign = connection.exec_driver_sql(
        "SELECT table_name, engine FROM information_schema.tables "
        "WHERE table_schema = database() AND table_type = 'BASE TABLE' AND engine <> 'InnoDB'"
    ).fetchall()
    for table, kind in foreign:
        yield wrong(
            AREA,
            f"table {table} is {kind}: no transactions, no foreign keys",
            f"ALTER TABLE {url.database}.{table} ENGINE=InnoDB",
        )
    rights = granted(_grants(connection), str(url.database))
    if missing := sorted(({"SELECT"} | WRITES) - rights):
        yield wrong(
            AREA,
            f"{url.username} lacks {', '.join(missing)} (rights from roles are not seen)",
            f"GRANT {', '.join(missing)} ON {url.database}.* TO {url.username}@'%'",
        )
    else:
        yield ok(AREA, f"{url.username} may read, write and alter")


def _reader(connection: Connection, url: URL) -> Iterator[Finding]:
    rights = granted(_grants(connection), str(url.database))
    if "SELECT" not in rights:
        yield wrong(
            READER,
            f"{url.username} may not read {url.database}",
            f"GRANT SELECT ON {url.database}.* TO {url.username}@'%'",
        )
    elif extra := sorted(rights & WRITES):
        yield wrong(
            READER,
            f"{url.username} may also {', '.join(extra)}, which dashboards never need",
            f"REVOKE {', '.join(extra)} ON {url.database}.* FROM {url.username}@'%'",
        )
    else:
        yield ok(READER, f"{url.username} may read and nothing else")


def granted(grants: Iterable[str], database: str) -> frozenset[str]:
    """The rights that lines of `SHOW GRANTS` give on a database, upper case."""
    rights: set[str] = set()
    for line in grants:
        found = _GRANT.match(line)
        if not found or not _covers(found["object"].split(".", 1)[0].strip("`\"'"), database):
            continue
        # Columns: SELECT (id, name)
        named = re.sub(r"\([^)]*\)", "", found["rights"]).upper()
        rights |= {one.strip() for one in named.split(",")}
    if "ALL" in rights or "ALL PRIVILEGES" in rights:
        return frozenset({"SELECT"} | WRITES)
    return frozenset(rights)


def _covers(pattern: str, database: str) -> bool:
    """Whether a grant's database, with LIKE's wildcards, is this one."""
    if pattern == "*":
        return True
    parts = re.findall(r"\\(.)|([%_])|(.)", pattern)
    wild = {"%": ".*", "_": "."}
    regex = "".join(
        wild[any_] if any_ else re.escape(quoted or plain) for quoted, any_, plain in parts
    )
    return re.fullmatch(regex, database) is not None


def _grants(connection: Connection) -> list[str]:
    return [str(line) for (line,) in connection.exec_driver_sql("SHOW GRANTS").fetchall()]


def _row(connection: Connection, statement: str) -> tuple[Any, ...]:
    return tuple(connection.exec_driver_sql(statement).one())
