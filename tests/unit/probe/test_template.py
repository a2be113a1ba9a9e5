import pytest

from changeover.probe import template


def test_only_placeholders_are_replaced() -> None:
    """Other braces stay, and what was put in is not looked at again."""
    assert template.text("{a} {} {1} {a b}", {"a": "{b}", "b": "no"}) == "{b} {} {1} {a b}"


def test_a_value_cannot_leave_its_place_in_a_path() -> None:
    """Slashes, questions marks and spaces in a value are encoded."""
    assert template.path("/notes/{id}?x=1", {"id": "a/b?c d"}) == "/notes/a%2Fb%3Fc%20d?x=1"


def test_trees_keep_their_shape() -> None:
    """Strings inside are filled, a lone placeholder may become a list, all else stays."""
    tree = {"{id}": ["{id}!", 1, None, True], "ids": "{ids}"}
    filled = template.tree(tree, {"id": "x", "ids": ["x", "y"]})
    assert filled == {"{id}": ["x!", 1, None, True], "ids": ["x", "y"]}


def test_names_are_found_wherever_they_stand() -> None:
    """Placeholders of nested values are listed, keys are not looked at."""
    assert template.names({"{k}": ["{a}", {"x": "{b}-{c}"}], "n": 1}) == {"a", "b", "c"}


def test_a_name_without_a_value_is_an_error() -> None:
    """Nothing is silently left in or out."""
    with pytest.raises(KeyError):
        template.text("{nobody}", {})
