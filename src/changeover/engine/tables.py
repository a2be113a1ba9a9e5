"""The five tables of the journal. Documents in them are JSON; times are seconds since the epoch."""

import sqlalchemy as sa

metadata = sa.MetaData()

run = sa.Table(
    "run",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("site", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("ended_at", sa.Double),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    # The lease: until when, by this database's clock, the owner of this epoch may append.
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("lease_until", sa.Double, nullable=False),
)

ACTIVE = run.c.ended_at.is_(None)

# As text: to give an index a condition for PostgreSQL loads SQLAlchemy's dialect of it, which an SQLite journal has no use for.
_ONE_RUN = sa.DDL("CREATE UNIQUE INDEX one_run_per_site ON run (site) WHERE ended_at IS NULL")  # type: ignore[no-untyped-call]
sa.event.listen(run, "after_create", _ONE_RUN)

plan = sa.Table(
    "plan",
    metadata,
    sa.Column("run", sa.ForeignKey(run.c.id), primary_key=True),
    sa.Column("revision", sa.Integer, primary_key=True),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
)

event = sa.Table(
    "event",
    metadata,
    sa.Column("run", sa.ForeignKey(run.c.id), primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)

command = sa.Table(
    "command",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("run", sa.ForeignKey(run.c.id), nullable=False),
    sa.Column("sent_at", sa.Double, nullable=False),
    sa.Column("verb", sa.Text, nullable=False),
    sa.Column("step", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("accept_skipped", sa.Boolean, nullable=False),
    # What a retry was sent with, of the answers that its step offers.
    sa.Column("choice", sa.Text, nullable=False),
    # Whom an approval or a refusal is given as, if not as the actor.
    sa.Column("signed", sa.Text, nullable=False),
    # Empty until the owner of the run answers.
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("answer", sa.Text, nullable=False),
    sqlite_autoincrement=True,
)

# How far what is in flight has come, by its own word. It is nobody's record: overwritten, and not part of the state.
note = sa.Table(
    "note",
    metadata,
    sa.Column("run", sa.ForeignKey(run.c.id), primary_key=True),
    sa.Column("step", sa.Text, primary_key=True),
    sa.Column("text", sa.Text, nullable=False),
)

sa.Index("command_by_run", command.c.run, command.c.outcome)
