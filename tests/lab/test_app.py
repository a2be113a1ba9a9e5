"""The lab's application as it runs: a process, its database, its two releases."""

import signal
import threading

import pytest

from changeover.lab.cgroup import wait_until
from changeover.lab.errors import LabError
from changeover.lab.service import Service
from tests.lab.conftest import Node

pytestmark = pytest.mark.slow

NOTE = {"id": "n1", "body": "Two Words"}


def ended(node: Node) -> bool:
    """Whether the node's process is gone."""
    return not Service(node.directory).running()


def log(node: Node) -> str:
    """Return what the node wrote to its log."""
    return (node.directory / "service.log").read_text()


def test_a_session_lives_on_its_node(node: Node) -> None:
    """Login gives a cookie, requests are counted, logout ends it."""
    _, login, cookie = node.request("GET", "/login")
    assert node.request("GET", "/session", cookie=cookie)[1] == {"id": login["id"], "node": "app1", "hits": 1}
    assert node.request("GET", "/sessions")[1]["sessions"] == 1
    node.request("GET", "/logout", cookie=cookie)
    assert node.request("GET", "/session", cookie=cookie)[0] == 401
    assert node.request("GET", "/sessions")[1]["sessions"] == 0


def test_a_session_ends_with_its_process(node: Node) -> None:
    """A restart loses sessions: that is what a drain protects."""
    _, _, cookie = node.request("GET", "/login")
    node.switch("v1")
    node.lab.wait_ready("app1")
    assert node.request("GET", "/session", cookie=cookie)[0] == 401


def test_an_acknowledged_note_survives_the_process(node: Node) -> None:
    """201 comes after the commit."""
    assert node.request("POST", "/notes", NOTE)[0] == 201
    node.switch("v1")
    node.lab.wait_ready("app1")
    assert node.request("GET", "/notes/n1")[1] == NOTE


def test_a_note_sent_again_is_not_new(node: Node) -> None:
    """A client that did not hear the answer may write again."""
    assert [node.request("POST", "/notes", NOTE)[0] for _ in range(2)] == [201, 200]


def test_missing_notes_are_named(node: Node) -> None:
    """The bulk check answers with those that are not stored, in the order asked."""
    node.request("POST", "/notes", NOTE)
    assert node.request("POST", "/notes/exists", {"ids": ["a", "n1", "b"]})[1] == {"missing": ["a", "b"]}
    assert node.request("POST", "/notes/exists", {"ids": []})[1] == {"missing": []}


@pytest.mark.parametrize("body", [[], {}, {"id": "x"}, "text", 7])
def test_a_bad_note_is_refused(node: Node, body: object) -> None:
    """What is not a note is answered 400 and stores nothing."""
    assert node.request("POST", "/notes", body)[0] == 400


def test_v1_goes_on_through_the_expansion(node: Node) -> None:
    """The old release reads and writes while and after the schema grows."""
    node.migrate("expand")
    assert node.request("POST", "/notes", NOTE)[0] == 201
    assert node.request("GET", "/notes/n1")[0] == 200


def test_v2_refuses_a_schema_that_is_not_expanded(node: Node) -> None:
    """The new release ends with a clear word before it serves anything."""
    node.switch("v2")
    wait_until(lambda: ended(node), 10, "v2 to end")
    assert "the schema has no notes.words; run the expand migration first" in log(node)


def test_v2_runs_on_the_expanded_and_on_the_contracted_schema(node: Node) -> None:
    """The new release needs what expand adds, and nothing that contract drops."""
    node.migrate("expand")
    node.switch("v2")
    node.lab.wait_ready("app1")
    assert node.request("POST", "/notes", NOTE)[0] == 201
    assert node.request("GET", "/notes/n1")[1] == {**NOTE, "words": 2}
    node.migrate("contract")
    assert node.request("POST", "/notes", {**NOTE, "id": "n2"})[0] == 201


def test_v1_cannot_write_the_contracted_schema(node: Node) -> None:
    """Contract is for when no node of v1 is left."""
    node.migrate("expand")
    node.migrate("contract")
    assert node.request("POST", "/notes", NOTE) == (500, {"error": "UndefinedColumn"}, "")


def test_a_stopping_node_finishes_its_requests(node: Node) -> None:
    """A request in flight at SIGTERM is answered though new ones are refused, and the process ends after it."""
    answers: list[int] = []
    client = threading.Thread(target=lambda: answers.append(node.request("POST", "/notes", NOTE)[0]))
    with node.connect() as holder, node.connect() as observer:
        holder.execute("LOCK TABLE notes")
        client.start()
        observer.autocommit = True
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        wait_until(lambda: observer.execute(waiting).fetchone() != (0,), 10, "the request to reach the lock")
        Service(node.directory).signal(signal.SIGTERM)
        wait_until(lambda: refuses(node), 10, "the node to refuse requests")
        assert not ended(node)
        holder.rollback()
    client.join()
    wait_until(lambda: ended(node), 10, "the node to end")
    assert answers == [201]
    assert log(node).endswith("INFO stopped\n")


def refuses(node: Node) -> bool:
    """Whether nobody listens at the node's port."""
    try:
        node.request("GET", "/health")
    except ConnectionError:
        return True
    return False


def test_a_node_may_fail_to_start(node: Node) -> None:
    """The fault ends the process before it listens."""
    node.fault("fail-start")
    node.switch("v1")
    wait_until(lambda: ended(node), 10, "the node to end")
    assert "a fault says: do not start" in log(node)


def test_a_node_may_lose_its_health(node: Node) -> None:
    """The health check fails after the time, while requests go on being served."""
    node.fault("fail-health-after", "0")
    assert node.request("GET", "/health")[0] == 503
    assert node.request("GET", "/version")[0] == 200


def test_a_node_may_hang_when_it_is_told_to_stop(node: Node) -> None:
    """SIGTERM does nothing, so that stopping reaches its time limit."""
    environment = node.directory / "service.env"
    environment.write_text(environment.read_text().replace("STOP_SECONDS=15", "STOP_SECONDS=1"))
    node.fault("hang-on-stop")
    with pytest.raises(LabError, match="still running after 1 s"):
        Service(node.directory).call("stop")
    assert not ended(node)


def test_a_node_may_serve_errors(node: Node) -> None:
    """The rate says which share of requests fails; the health check stays good."""
    node.fault("serve-errors", "1")
    assert node.request("GET", "/login")[0] == 500
    assert node.request("GET", "/health")[0] == 200


def test_a_node_may_lie_about_its_version(node: Node) -> None:
    """The version said is the fault's."""
    node.fault("wrong-version", "v7")
    assert node.request("GET", "/version")[1]["version"] == "v7"
