from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.errors import SpecError
from changeover.probe.loading import load, shipped
from changeover.probe.profile import Profile

GOOD = """\
secrets:
  password: {file: secret}
headers: {X-Auth: "{token}"}
setup:
  method: POST
  path: /tokens
  json: {password: "{password}"}
  capture: {token: {header: X-Subject-Token}}
write:
  request: {method: POST, path: /things, json: {name: "{id}"}, expect: 201}
  verify: {path: "/things?name={id}", contains: "{id}"}
"""


def loaded(folder: Path, text: str) -> Profile:
    """The profile with this text."""
    (folder / "p.yaml").write_text(text)
    return load(str(folder / "p.yaml"))


def test_a_profile_is_read(tmp_path: Path) -> None:
    """A single status stands for a list, defaults are filled in, and a secret's file is beside the profile."""
    profile = loaded(tmp_path, GOOD)
    assert profile.write is not None
    assert profile.write.request.expect == (201,)
    assert profile.write.verify.absent == (404, 410)
    assert profile.secrets["password"].file == str(tmp_path / "secret")


@pytest.mark.parametrize("name", shipped())
def test_shipped_profiles_are_valid(name: str) -> None:
    """Each profile that comes with the probe loads by its name alone."""
    assert load(name) != Profile()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "path: /things,",
            "pth: /things,",
            r"p.yaml:10: write.request.pth: unknown key; did you mean 'path'?",
        ),
        (
            "expect: 201",
            "expect: 2001",
            "p.yaml:10: write.request.expect.0: Input should be less than or equal to 599",
        ),
        ("path: /tokens", "path: tokens", "p.yaml:6: setup.path: expected a path that begins with '/'"),
        ("{file: secret}", "hunter2", "p.yaml:2: secrets.password: Input should be a valid dictionary"),
        ("{file: secret}", "{}", "p.yaml:2: secrets.password: one of 'env' and 'file' is needed"),
        (
            '"{password}"',
            '"{pasword}"',
            "p.yaml:7: setup.json: nothing gives {pasword} a value; known here: password",
        ),
        ("  verify:", "  #", "p.yaml:9: write.verify: Field required"),
        ("method: POST\n", "method: [\n", "p.yaml:7: not valid YAML: expected ',' or ']'"),
    ],
)
def test_mistakes_name_their_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    """Each mistake is told with file, line, key and what was expected."""
    with pytest.raises(SpecError) as caught:
        loaded(tmp_path, GOOD.replace(old, new))
    assert message in caught.value.message


def test_several_mistakes_are_told_together(tmp_path: Path) -> None:
    """Two mistakes are two lines of one error."""
    with pytest.raises(SpecError) as caught:
        loaded(tmp_path, "read: {path: here}\nheader: {}\n")
    assert [line.split(": ")[0].rsplit("/", 1)[1] for line in caught.value.message.splitlines()] == [
        "p.yaml:1",
        "p.yaml:2",
    ]


def test_the_secret_that_was_typed_in_is_not_repeated(tmp_path: Path) -> None:
    """A secret that stands in the profile itself is refused without being shown."""
    with pytest.raises(SpecError) as caught:
        loaded(tmp_path, GOOD.replace("{file: secret}", "hunter2"))
    assert "hunter2" not in caught.value.message


def test_an_unknown_profile_names_the_nearest() -> None:
    """A mistyped name gets the name that was probably meant."""
    with pytest.raises(SpecError, match="labb: no such profile; did you mean 'lab'"):
        load("labb")


@given(position=st.integers(0, len(GOOD) - 1), put=st.text(max_size=3))
def test_no_text_makes_a_traceback(tmp_path_factory: pytest.TempPathFactory, position: int, put: str) -> None:
    """A profile with anything typed anywhere is loaded or refused with a place."""
    folder = tmp_path_factory.getbasetemp()
    (folder / "p.yaml").write_bytes((GOOD[:position] + put + GOOD[position:]).encode(errors="surrogatepass"))
    try:
        load(str(folder / "p.yaml"))
    except SpecError as error:
        assert "p.yaml:" in error.message  # noqa: PT017


def test_the_documented_profile_is_valid(tmp_path: Path) -> None:
    """The example in the documentation is one that works."""
    documentation = Path(__file__).parents[3] / "docs" / "probe.md"
    example = documentation.read_text().split("```yaml\n")[1].split("```")[0]
    profile = loaded(tmp_path, example)
    assert None not in (profile.session, profile.write, profile.setup, profile.read)
