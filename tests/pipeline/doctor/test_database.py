"""What `doctor` finds about the database of MLflow, with a real MariaDB."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import findings
import pymysql
import pytest

from pipeline.doctor import database
from pipeline.doctor.finding import Finding
from pipeline.local.process import free_port
from pipeline.local.servers import Database
from pipeline.settings import Settings


@pytest.fixture(scope="module")
def root(mariadb: Database) -> Iterator[Any]:
    """Runs statements as the administrator of the real MariaDB."""
    socket = Path(os.environ.get("TMPDIR", "/tmp")) / f"gliner-mariadb-{mariadb.port}.sock"
    connection = pymysql.connect(unix_socket=str(socket), user="root", autocommit=True)
    connection.cursor().execute("CREATE DATABASE doctor CHARACTER SET utf8mb4")

    def run(*statements: str) -> None:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    yield run
    run("DROP DATABASE doctor")
    connection.close()


@pytest.fixture
def account(mariadb: Database, root: Any) -> Iterator[Any]:
    """Makes an account with some rights on the database `doctor`; gives its address."""
    name = f"u{uuid4().hex[:8]}"

    def make(rights: str, database: str = "doctor") -> str:
        root(f"CREATE USER {name}@'localhost' IDENTIFIED BY 's3cr3t'")
        if rights:
            root(f"GRANT {rights} ON doctor.* TO {name}@'localhost'")
        # pragma: allowlist nextline secret
        return f"mysql+pymysql://{name}:s3cr3t@{mariadb.host}:{mariadb.port}/{database}"

    yield make
    root(f"DROP USER IF EXISTS {name}@'localhost'")


def looked(**addresses: str) -> list[Finding]:
    found = list(database.check(Settings(**addresses, http_timeout_seconds=5)))  # type: ignore[arg-type]
    assert "s3cr3t" not in str(found)
    return [one for one in found if one.state != "unset"]


@pytest.mark.server
def test_a_database_with_all_rights(account: Any) -> None:
    """An account that owns its database is all that MLflow needs."""
    found = looked(database_url=account("ALL PRIVILEGES"))

    assert [one.state for one in found] == ["ok", "ok"]
    assert "MariaDB" in found[0].text


@pytest.mark.server
def test_an_account_that_lacks_rights(account: Any) -> None:
    """What is missing is named, and what to grant."""
    found = looked(database_url=account("SELECT, INSERT, UPDATE, DELETE, CREATE, INDEX"))[-1]

    assert found.state == "wrong"
    assert "lacks ALTER, DROP, REFERENCES" in found.text
    assert found.remedy.startswith("GRANT ALTER, DROP, REFERENCES ON doctor.*")


@pytest.mark.server
def test_tables_that_would_lose_data(account: Any, root: Any) -> None:
    """A table without transactions and a character set too small are both found."""
    root(
        "CREATE TABLE doctor.old (id INT) ENGINE=MyISAM",
        "ALTER DATABASE doctor CHARACTER SET latin1",
    )
    try:
        found = [one for one in looked(database_url=account("ALL")) if one.state == "wrong"]
    finally:
        root("DROP TABLE doctor.old", "ALTER DATABASE doctor CHARACTER SET utf8mb4")

    assert [one.remedy for one in found] == [
        "ALTER DATABASE doctor CHARACTER SET utf8mb4",
        "ALTER TABLE doctor.old ENGINE=InnoDB",
    ]


@pytest.mark.server
def test_a_database_that_lets_us_not_in(account: Any, mariadb: Database) -> None:
    """A wrong password, an unknown database and a server that is down each have a remedy."""
    address = account("ALL")
    password = findings.only(looked(database_url=address.replace("s3cr3t", "guess")))
    missing = findings.only(looked(database_url=address.replace("/doctor", "/nothing")))
    down = findings.only(looked(database_url=address.replace(str(mariadb.port), str(free_port()))))

    assert [one.state for one in (password, missing, down)] == ["wrong"] * 3
    assert "password" in password.remedy
    assert "nothing" in missing.remedy
    assert "is it up" in down.remedy
    assert "guess" not in str(password)


@pytest.mark.server
@pytest.mark.parametrize(
    ("rights", "state", "text"),
    [
        ("SELECT", "ok", "nothing else"),
        ("SELECT, INSERT, DROP", "wrong", "may also DROP, INSERT"),
        ("SHOW VIEW", "wrong", "may not read doctor"),
    ],
)
def test_the_account_of_grafana(rights: str, state: str, text: str, account: Any) -> None:
    """It has to read, and should do nothing else."""
    found = findings.only(looked(database_reader_url=account(rights)))

    assert (found.area, found.state) == ("database reader", state)
    assert text in found.text


@pytest.mark.parametrize(
    ("address", "state"),
    [("sqlite:////tmp/x.db", "unset"), ("not an address", "wrong"), ("mysql+odd://u@h/d", "wrong")],
)
def test_an_address_that_is_no_mysql(address: str, state: str) -> None:
    """SQLite is left alone; what cannot be read is said without repeating it."""
    [found, _] = database.check(Settings(database_url=address))

    assert found.state == state


@pytest.mark.parametrize(
    ("grant", "rights"),
    [
        ("GRANT ALL PRIVILEGES ON *.* TO `u`@`%` WITH GRANT OPTION", {"SELECT", "DROP"}),
        ("GRANT SELECT, INSERT ON `ml\\_flow`.* TO `u`@`%`", {"SELECT", "INSERT"}),
        ("GRANT SELECT (`id`, `name`), UPDATE ON `ml%`.`runs` TO 'u'@'h'", {"SELECT", "UPDATE"}),
        ("GRANT SELECT ON `other`.* TO `u`@`%`", set()),
        ("GRANT USAGE ON *.* TO `u`@`%` IDENTIFIED BY PASSWORD '*X'", {"USAGE"}),
        ("GRANT `role`@`%` TO `u`@`%`", set()),
    ],
)
def test_grants_are_read_as_mysql_means_them(grant: str, rights: set[str]) -> None:
    """Wildcards, escapes, columns and all privileges count; other databases do not."""
    found = database.granted([grant], "ml_flow")

    assert found >= rights
    assert bool(found) == bool(rights)
