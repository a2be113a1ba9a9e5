"""What every notifier keeps: Apprise, by mail and by webhook, received for real; and the simulated one."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from email import message_from_bytes, policy

import msgspec
import pytest
from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session

from changeover.drivers import apprise
from changeover.drivers.secrets import Secrets
from changeover.engine.events import Told
from changeover.engine.memory import MemoryJournal
from changeover.engine.runner import Runner
from changeover.errors import NotifierError
from changeover.model.release import Moment, Notice
from changeover.model.states import RunState
from changeover.model.values import Secret
from changeover.ports import Notifier
from changeover.simulation import SimulatedSite
from tests.enginekit import PATIENCE, a_gate, a_plan, a_world, begin
from tests.sites import a_release, a_site

PASSWORD = "hunter2-not-for-logs"
TITLE, TEXT = (
    "identity: waits for anna: sign-off",
    "the totals are right\nchangeover approve sign-off — or not",
)


@dataclass
class Post:
    """Where messages arrive, each as its title and its text. While it `refuses`, none does."""

    notifier: Notifier = field(init=False)
    arrived: list[tuple[str, str]] = field(default_factory=list)
    refuses: bool = False


class Mail:
    """What an SMTP server does with a mail."""

    def __init__(self, post: Post) -> None:
        self.post = post

    async def handle_DATA(self, _: SMTP, __: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        """Keep it."""
        if self.post.refuses:
            return "554 not today"
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content, policy=policy.default)
        body = mail.get_body(("plain",))
        assert body
        self.post.arrived.append((str(mail["subject"]), body.get_content().replace("\r\n", "\n").strip()))
        return "250 taken"


@pytest.fixture
async def by_mail(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Post]:
    """Apprise, to an SMTP server of our own."""
    post = Post()
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(Mail(post), hostname="mail.test", enable_SMTPUTF8=True), "127.0.0.1", 0
    )
    address = f"mailto://127.0.0.1:{port(server)}?from=changeover@site.test&to=ops@site.test&name=Changeover&format=text"
    post.notifier = through_apprise(address, monkeypatch)
    yield post
    server.close()
    await server.wait_closed()


@pytest.fixture
async def by_webhook(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Post]:
    """Apprise, to an HTTP server of our own."""
    post = Post()

    async def take(request: web.Request) -> web.Response:
        if post.refuses:
            return web.Response(status=503)
        said = await request.json()
        post.arrived.append((said["title"], said["message"]))
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook/{token}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    number = runner.addresses[0][1]
    post.notifier = through_apprise(f"json://ops:{PASSWORD}@127.0.0.1:{number}/hook/{PASSWORD}", monkeypatch)
    yield post
    await runner.cleanup()


@pytest.fixture
def simulated() -> Post:
    """The simulated one."""
    site = SimulatedSite(a_site(), "v1", release=a_release(notices=(Notice("ops", Secret(env="OPS")),)))
    mailbox = site.mailboxes["ops"]

    class Simulated(Post):
        @property
        def refuses(self) -> bool:
            return mailbox.full

        @refuses.setter
        def refuses(self, value: bool) -> None:
            mailbox.full = value

    post = Simulated(mailbox.messages)
    post.notifier = site.world.notifiers["ops"]
    return post


@pytest.fixture(params=["by_mail", "by_webhook", "simulated"])
def post(request: pytest.FixtureRequest) -> Post:
    """Each of them."""
    found: Post = request.getfixturevalue(request.param)
    return found


def port(server: asyncio.Server) -> int:
    """The port that it listens on."""
    number: int = server.sockets[0].getsockname()[1]
    return number


def through_apprise(address: str, monkeypatch: pytest.MonkeyPatch) -> Notifier:
    """The driver, with the address where its reference says."""
    where = f"OPS_{address.partition(':')[0].upper()}"
    monkeypatch.setenv(where, address)
    return apprise.create(Notice("ops", Secret(env=where)), secrets=Secrets())


async def test_a_message_arrives_as_it_was_written(post: Post) -> None:
    """Title and text, whatever letters are in it; the next one, too."""
    await post.notifier.send(TITLE, TEXT)
    await post.notifier.send("second", "message")
    assert post.arrived == [(TITLE, TEXT), ("second", "message")]


async def test_what_nobody_takes_is_an_error(post: Post) -> None:
    """It names the notifier; and the next message may arrive."""
    post.refuses = True
    with pytest.raises(NotifierError, match="ops was not told"):
        await post.notifier.send(TITLE, TEXT)
    post.refuses = False
    await post.notifier.send(TITLE, TEXT)
    assert post.arrived == [(TITLE, TEXT)]


async def test_a_run_tells_people_by_mail_and_by_webhook(by_mail: Post, by_webhook: Post) -> None:
    """That it waits for somebody; both have it when the conductor leaves, and the journal says so."""
    plan = a_plan([a_gate("sign-off", who=("anna",))])
    notices = tuple(Notice(name, Secret(env="OPS")) for name in ("mail", "hook"))
    plan = msgspec.structs.replace(plan, release=msgspec.structs.replace(plan.release, notices=notices))
    world = replace(a_world(), notifiers={"mail": by_mail.notifier, "hook": by_webhook.notifier})
    journal = MemoryJournal(time.time)
    run = await begin(journal, plan)
    async with asyncio.timeout(PATIENCE):
        assert (await Runner(journal, run, world, {}).run()).state is RunState.WAITING
    text = f"sign-off\nchangeover approve sign-off, or: changeover refuse sign-off --reason …\nRun {run}; changeover watch {run}"
    assert by_mail.arrived == by_webhook.arrived == [("identity: waits for anna: sign-off", text)]
    told = [it for it in await journal.events(run) if isinstance(it, Told)]
    assert {(it.notice, it.moment, it.error) for it in told} == {
        ("mail", Moment.WAITS, ""),
        ("hook", Moment.WAITS, ""),
    }


@pytest.mark.parametrize(
    "address",
    [
        f"json://ops:{PASSWORD}@127.0.0.1:{{port}}/hook/{PASSWORD}",
        f"mailto://ops:{PASSWORD}@127.0.0.1:{{port}}?from=a@site.test&to=b@site.test",
        f"nonsense://{PASSWORD}",
        f"json://{PASSWORD}:{PASSWORD}",
        PASSWORD,
    ],
)
async def test_an_error_tells_nothing_of_the_address(
    address: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Neither in its text nor on the terminal; nobody listens, or it is no address at all."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        number = closed.getsockname()[1]
    notifier = through_apprise(address.format(port=number), monkeypatch)
    with pytest.raises(NotifierError) as caught:
        await notifier.send(TITLE, TEXT)
    said = "".join((str(caught.value), caught.value.hint, *capfd.readouterr()))
    assert PASSWORD not in said
    assert "ops was not told" in said


async def test_a_defect_of_a_service_tells_nothing_of_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor any piece of it: that alone would not be known for a secret."""

    def breaks(address: str, *_: str) -> str:
        raise KeyError(address.rpartition("/")[2])

    monkeypatch.setattr(apprise, "_send", breaks)
    notifier = through_apprise(f"json://127.0.0.1/{PASSWORD}", monkeypatch)
    with pytest.raises(NotifierError) as caught:
        await notifier.send(TITLE, TEXT)
    assert caught.value.message == "ops was not told: json: KeyError: '***'"


async def test_an_address_that_is_nowhere_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reference, so that it can be mended."""
    monkeypatch.delenv("OPS", raising=False)
    notifier = apprise.create(Notice("ops", Secret(env="OPS")), secrets=Secrets())
    with pytest.raises(NotifierError, match="the address of ops: environment variable OPS is not set"):
        await notifier.send(TITLE, TEXT)
