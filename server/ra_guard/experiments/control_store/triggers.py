"""What the databases themselves refuse: to change, remove or overtake a definition, a revision or a ledger line.

The program never tries. The triggers hold for whatever else opens the store: a shell, a script, an older release.
SQLite's ``INSERT OR REPLACE`` removes rows without a delete trigger, hence its triggers on insert.
"""

REFUSED = "append-only"
"""How the message of every refusal begins, in both databases."""
REFUSED_STATE = "RA001"
"""SQLSTATE of a refusal in PostgreSQL."""

_KEPT = ("control_definition", "control_revision", "control_ledger")

_OVERTAKEN = {
    "control_definition": "EXISTS (SELECT 1 FROM control_definition WHERE digest = NEW.digest)",
    "control_revision": "NEW.revision <= (SELECT max(revision) FROM control_revision WHERE key = NEW.key)",
    "control_ledger": "EXISTS (SELECT 1 FROM control_ledger WHERE id = NEW.id)",
    "control_writer": "EXISTS (SELECT 1 FROM control_writer)",
}
"""By table: an inserted row that would stand before or in the place of one that is there."""

_TERM_REUSED = "NEW.term < OLD.term OR (NEW.term = OLD.term AND NEW.holder IS NOT NULL AND {holder_differs})"
"""A term never goes back, and never changes hands."""


def statements_for(dialect: str) -> tuple[str, ...]:
    """The statements that create every trigger in ``postgresql`` or ``sqlite``."""
    return {"postgresql": _postgresql, "sqlite": _sqlite}[dialect]()


def _sqlite() -> tuple[str, ...]:
    def refuse(table: str, event: str, when: str = "") -> str:
        return (
            f"CREATE TRIGGER {table}_{event.lower()} BEFORE {event} ON {table} {when and f'WHEN {when} '}"
            f"BEGIN SELECT RAISE(ABORT, '{REFUSED}: {event.lower()} of {table}'); END"
        )

    return (
        *(refuse(table, event) for table in _KEPT for event in ("UPDATE", "DELETE")),
        *(refuse(table, "INSERT", when) for table, when in _OVERTAKEN.items()),
        refuse("control_writer", "DELETE"),
        refuse("control_writer", "UPDATE", _TERM_REUSED.format(holder_differs="NEW.holder IS NOT OLD.holder")),
    )


def _postgresql() -> tuple[str, ...]:
    def refuse(table: str, events: str, name: str, *, each: str = "ROW", when: str = "") -> str:
        return (
            f"CREATE TRIGGER {table}_{name} BEFORE {events} ON {table} FOR EACH {each} "
            f"{when and f'WHEN ({when}) '}EXECUTE FUNCTION control_refuse()"
        )

    # A condition of a trigger may not read tables there, so the one that does is a function of its own.
    rises = (
        "CREATE FUNCTION control_revision_rises() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF {_OVERTAKEN['control_revision']} THEN "
        f"RAISE EXCEPTION '{REFUSED}: insert of control_revision' USING ERRCODE = '{REFUSED_STATE}'; "
        "END IF; RETURN NEW; END $$"
    )
    refuses = (
        "CREATE FUNCTION control_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"RAISE EXCEPTION USING ERRCODE = '{REFUSED_STATE}', "
        f"MESSAGE = '{REFUSED}: ' || lower(TG_OP) || ' of ' || TG_TABLE_NAME; END $$"
    )
    guards = (
        "CREATE TRIGGER control_revision_insert BEFORE INSERT ON control_revision "
        "FOR EACH ROW EXECUTE FUNCTION control_revision_rises()"
    )
    return (
        refuses,
        rises,
        guards,
        *(refuse(table, "UPDATE OR DELETE", "change") for table in _KEPT),
        *(refuse(table, "TRUNCATE", "truncate", each="STATEMENT") for table in (*_KEPT, "control_writer")),
        refuse("control_writer", "DELETE", "delete"),
        refuse(
            "control_writer",
            "UPDATE",
            "term",
            when=_TERM_REUSED.format(holder_differs="NEW.holder IS DISTINCT FROM OLD.holder"),
        ),
    )
