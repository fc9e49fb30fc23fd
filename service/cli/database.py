"""``assay db``: the database's tables, their migrations, and everything in them as files."""

from pathlib import Path
from typing import Annotated

import typer

from service.cli.options import AsJson, DatabaseUrl
from service.cli.printing import print_json, progress, say


def make_family() -> typer.Typer:
    """The commands of this family."""
    family = typer.Typer(name="db", help="The database's tables, migrations and contents.")
    family.command()(upgrade)
    family.command()(check)
    family.command("export")(export)
    family.command("import")(import_)
    return family


def upgrade(database_url: DatabaseUrl = None) -> None:
    """Create the tables, or bring them to this version's migration."""
    from service.db import schema
    from service.db.session import make_engine
    from service.settings import load_settings

    url = load_settings(database_url=database_url).database_url
    schema.upgrade(make_engine(url), lambda runs: progress("correlations by the column", runs, "run"))
    say("the database is at this version's migration")


def check(database_url: DatabaseUrl = None) -> None:
    """Exit with 2 unless the database is at this version's migration."""
    from service.db import schema
    from service.db.session import make_engine
    from service.settings import load_settings

    url = load_settings(database_url=database_url).database_url
    schema.check(make_engine(url))
    say("the database is at this version's migration")


def export(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new directory.")],
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Write every table to DIR as Parquet, as it is at this moment; servers may go on meanwhile."""
    from service.db.parquet import export_database
    from service.db.session import make_engine
    from service.settings import load_settings

    url = load_settings(database_url=database_url).database_url
    counts = export_database(make_engine(url), directory)
    if as_json:
        print_json({"rows": counts})
        return
    say(f"wrote {sum(counts.values()):,} rows of {len(counts)} tables to {directory}")


def import_(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="What `assay db export` wrote.")],
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Store what was exported to DIR in a database without rows; an empty one is given its tables."""
    from service.database import open_database
    from service.db.parquet import import_database
    from service.settings import load_settings

    with open_database(load_settings(database_url=database_url)) as engine:
        counts = import_database(engine, directory)
    if as_json:
        print_json({"rows": counts})
        return
    say(f"stored {sum(counts.values()):,} rows of {len(counts)} tables")
