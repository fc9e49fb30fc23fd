"""``assay db``: the database's tables and their migrations."""

import typer

from service.cli.options import DatabaseUrl
from service.cli.printing import say


def make_family() -> typer.Typer:
    """The commands of this family."""
    family = typer.Typer(name="db", help="The database's tables and their migrations.")
    family.command()(upgrade)
    family.command()(check)
    return family


def upgrade(database_url: DatabaseUrl = None) -> None:
    """Create the tables, or bring them to this version's migration."""
    from service.db import schema
    from service.db.session import make_engine
    from service.settings import load_settings

    url = load_settings(database_url=database_url).database_url
    schema.upgrade(make_engine(url))
    say("the database is at this version's migration")


def check(database_url: DatabaseUrl = None) -> None:
    """Exit with 2 unless the database is at this version's migration."""
    from service.db import schema
    from service.db.session import make_engine
    from service.settings import load_settings

    url = load_settings(database_url=database_url).database_url
    schema.check(make_engine(url))
    say("the database is at this version's migration")
