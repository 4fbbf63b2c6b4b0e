"""Rows of a query: of a SQLite file, and of a PostgreSQL server where one is installed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import postgres
import pytest
from ingesting import ONE, fault, table

from edgeline.components.ingest.ingest import ingest
from edgeline.components.ingest.queries import UNORDERED, asked, is_ordered
from edgeline.stores import storage


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A SQLite file whose columns say no types, with whole numbers before the first fraction."""
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("CREATE TABLE trips (id, fare, word, raw, mixed, none)")
        connection.executemany(
            "INSERT INTO trips VALUES (?, ?, ?, ?, ?, NULL)",
            [
                (n, n if n < 9000 else n + 0.5, f"w{n}", b"\xff", n if n % 2 else "x")
                for n in range(10_000)
            ],
        )
    connection.close()
    return tmp_path / "shop.db"


def test_sqlite(shop: Path, tmp_path: Path) -> None:
    query = "SELECT id, fare, word, raw, none FROM trips ORDER BY id DESC; ;\n"
    page = tmp_path / "page.html"
    facts = ingest(
        str(shop), tmp_path / "out", split_ratios=ONE, query=query, examples_report_path=page
    )
    assert facts["columns"] == {
        "id": "int64",
        "fare": "double",
        "word": "string",
        "raw": "binary",
        "none": "double",
    }
    found = table(tmp_path / "out")
    assert found["id"].to_pylist() == list(range(9999, -1, -1))
    assert found["fare"][0].as_py() == 9999.5
    assert UNORDERED not in facts["notes"]
    assert facts["sources"][0]["name"] == "shop.db"
    assert facts["query"] == query
    assert "ORDER BY id DESC" in page.read_text()


def test_the_order_of_rows_is_said_or_free(shop: Path, tmp_path: Path) -> None:
    facts = ingest(str(shop), tmp_path / "out", query="SELECT id FROM trips")
    assert UNORDERED in facts["notes"]


@pytest.mark.parametrize(
    "end", ["; -- all of them", " /* a */ ; /* b;\n */ ;\n--", "-- it's ; open", ""]
)
def test_what_follows_a_query_is_left_out(end: str, shop: Path, tmp_path: Path) -> None:
    query = "SELECT id, '-- ;' AS word FROM trips ORDER BY id"
    assert asked(query + end, "shop", []) == query
    ingest(str(shop), tmp_path / "out", query=query + end)


@pytest.mark.parametrize(
    ("query", "ordered"),
    [
        ("SELECT * FROM t ORDER BY id", True),
        ("select * from t\norder\n by id limit 5", True),
        ("SELECT * FROM (SELECT * FROM t ORDER BY id) x", False),
        ("SELECT row_number() OVER (PARTITION BY (a) ORDER BY b) FROM t", False),
        ("SELECT ' order by ', \"order by\" FROM t -- order by", False),
        ("SELECT 'it''s' FROM t /* order by */", False),
        ("SELECT $$ order by $$", False),
    ],
)
def test_which_queries_say_an_order(query: str, ordered: bool) -> None:
    assert is_ordered(query) is ordered


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("", 'shop.db is a database: say which rows with query, for example query="SELECT'),
        ("SELECT nope FROM trips", "shop.db did not answer the query (no such column: nope)"),
        ("SELECT mixed FROM trips", "column 'mixed': holds integer and text: make one type of them in the query, for example CAST("),  # noqa: E501
        ("SELECT id, id FROM trips", "has two columns named 'id': name one with AS"),
        ("DELETE FROM trips", "attempt to write a readonly database"),
        ("SELECT id FROM trips WHERE id < 0", "shop.db has no row"),
    ],
)  # fmt: skip
def test_queries_that_are_refused(query: str, said: str, shop: Path, tmp_path: Path) -> None:
    assert said in fault(shop, tmp_path / "out", query=query)


def test_changes_that_are_not_in_the_file_yet(shop: Path, tmp_path: Path) -> None:
    connection = sqlite3.connect(shop)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("DELETE FROM trips WHERE id < 5")
    connection.commit()
    said = fault(shop, tmp_path / "out", query="SELECT id FROM trips")
    assert "shop.db has changes in shop.db-wal that are not in the file" in said
    connection.close()


def test_a_query_of_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("n\n1\n")
    assert "query is for databases" in fault(tmp_path / "a.csv", tmp_path / "o", query="SELECT 1")


@pytest.mark.parametrize(
    "place", ["postgresql://me:secret@db:5432/shop", "postgres://me@db:5432/shop?password=secret"]
)
def test_a_password_is_refused_and_not_told(place: str, tmp_path: Path) -> None:
    said = fault(place, tmp_path / "out", query="SELECT 1")
    assert "data has the password of postgresql://db:5432/shop" in said
    assert "PGPASSWORD" in said
    assert "secret" not in said.replace("from a secret", "")


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    said = fault(f"postgresql:///shop?host={tmp_path}", tmp_path / "out", query="SELECT 1")
    assert "postgresql:///shop did not answer the query (" in said
    assert len(said.splitlines()) == 1


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    with postgres.running() as url:
        yield url


TYPES = """
SELECT n AS id, n * 0.25 AS money, n::real AS half, n % 2 = 0 AS even, 'w' || n AS word,
  timestamptz '2024-03-01 12:00+01' AS at, date '1970-01-02' AS day, ARRAY[n, n + 1] AS pair,
  NULL::integer AS none, '\\xff'::bytea AS raw
FROM generate_series(1, 50000) AS n ORDER BY n
"""


@pytest.mark.slow
def test_postgresql(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = fault(server, tmp_path / "out", query=TYPES)
    assert "no password supplied" in said
    monkeypatch.setenv("PGPASSWORD", "secret")
    facts = ingest(server, tmp_path / "out", split_ratios=ONE, query=TYPES)
    told = "Column 'money' is numeric and was read as double, which holds 15 digits."
    assert told in facts["notes"]
    assert facts["sources"][0]["name"] == "postgresql:///postgres"
    found = table(tmp_path / "out")
    assert found.num_rows == 50_000
    assert found.slice(2, 1).to_pylist() == [
        {
            "id": 3,
            "money": 0.75,
            "half": 3.0,
            "even": 0,
            "word": "w3",
            "at": 1_709_290_800_000_000,
            "day": 86_400_000_000,
            "pair": [3, 4],
            "none": None,
            "raw": b"\xff",
        }
    ]
    for query, said in (
        ("CREATE TABLE t (n int)", "read-only transaction"),
        ("SELECT nope", 'column "nope" does not exist'),
    ):
        assert said in fault(server, tmp_path / "no", query=query)


def test_a_database_is_pinned_to_nothing() -> None:
    place = "postgresql://one,two/shop"
    assert storage.pin(place) == place
