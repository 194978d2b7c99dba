"""Files of keys that are found by name, and say only what differs from another one."""

from pathlib import Path
from typing import Any

import pytest

import medssl
from medssl.errors import UsageError
from medssl.named_files import NamedFiles

RECIPES = NamedFiles("recipes", "recipe")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "installed" / "medssl"
    monkeypatch.setattr(medssl, "__file__", str(package / "__init__.py"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def write(path: str, text: str) -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)
    return Path(path)


def shipped(name: str, text: str) -> None:
    write(f"../installed/medssl/_recipes/{name}.yaml", text)


def laid(name: str) -> dict[str, Any]:
    return RECIPES.layers(RECIPES.find(name)).laid()


def refusal(name: str) -> str:
    with pytest.raises(UsageError) as caught:
        laid(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_name_is_found_in_any_folder_and_the_users_own_comes_first() -> None:
    shipped("soups/leek", "salt: 1\n")
    shipped("bread", "salt: 2\n")
    write("recipes/mine/bread.yaml", "salt: 3\n")
    write("recipes/.old/cake.yaml", "salt: 4\n")
    assert RECIPES.names() == ["bread", "leek"]
    assert (laid("leek"), laid("bread")) == ({"salt": 1}, {"salt": 3})


def test_two_files_of_one_name_are_refused_where_it_is_asked_for() -> None:
    one = write("recipes/a/bread.yaml", "salt: 1\n")
    other = write("recipes/b/bread.yaml", "salt: 2\n")
    assert refusal("bread").startswith(f"two files are called bread: {one} and {other}; rename")


def test_a_file_lies_over_the_one_it_extends_at_every_depth() -> None:
    shipped("bread", "oven: {top: 220, low: {start: 200, end: 180}}\nadd: [salt, malt]\nrest: 8\n")
    write("recipes/mine.yaml", "extends: bread\noven: {low: {end: 170}}\nadd: [rye]\n")
    write("recipes/ours.yaml", "extends: mine\nrest: null\n")
    assert laid("ours") == {
        "oven": {"top": 220, "low": {"start": 200, "end": 170}},
        "add": ["rye"],
        "rest": None,
    }


def test_the_keys_that_say_which_file_it_is_are_not_taken_over() -> None:
    shipped("bread", "name: loaf\ntitle: Bread\nrest: 8\n")
    write("recipes/mine.yaml", "extends: bread\n")
    assert laid("mine") == {"rest": 8}
    write("recipes/mine.yaml", "extends: bread\ntitle: Mine\n")
    assert laid("mine") == {"title": "Mine", "rest": 8}


def test_a_path_starts_from_the_folder_of_the_file_itself() -> None:
    write("elsewhere/base.yaml", "salt: 1\n")
    write("elsewhere/mine.yml", "extends: base.yaml\n")
    assert laid("elsewhere/mine.yml") == {"salt": 1}


def test_a_file_may_extend_the_shipped_one_whose_name_it_takes() -> None:
    shipped("bread", "salt: 1\nrest: 8\n")
    write("recipes/bread.yaml", "extends: bread\nsalt: 2\n")
    assert laid("bread") == {"salt": 2, "rest": 8}


def test_a_circle_is_refused_by_the_file_that_closes_it() -> None:
    write("recipes/a.yaml", "extends: b\n")
    write("recipes/b.yaml", "extends: a\n")
    assert refusal("a").startswith("recipes/b.yaml extends a, and so itself in the end; ")
    for itself in ("c", "c.yaml"):
        write("recipes/c.yaml", f"extends: {itself}\n")
        assert refusal("c").startswith(f"recipes/c.yaml extends {itself}, and so itself")


def test_what_is_not_there_is_named_with_the_file_that_extends_it() -> None:
    shipped("bread", "salt: 1\n")
    write("recipes/mine.yaml", "extends: braed\n")
    assert refusal("mine") == (
        "no recipe is called 'braed', which recipes/mine.yaml extends; did you mean 'bread'?"
    )
    write("recipes/mine.yaml", "extends: base.yaml\n")
    assert refusal("mine").startswith("there is no recipe recipes/base.yaml, which recipes/mine")
    for odd in ("[bread]", "3", "''", "{bread: 1}"):
        write("recipes/mine.yaml", f"extends: {odd}\n")
        assert refusal("mine").startswith("`extends` in recipes/mine.yaml names no recipe; ")


def test_a_fault_is_named_by_the_file_in_which_it_is() -> None:
    write("recipes/base.yaml", "a: 1\nb: c: 3\n")
    write("recipes/mine.yaml", "extends: base\n")
    assert refusal("mine").startswith("recipes/base.yaml, line 2, column 5, is not valid YAML")


def test_a_key_belongs_to_the_topmost_file_that_gives_it() -> None:
    base = write("recipes/base.yaml", "oven: {top: 1, low: 2}\nadd: [{salt: 1}]\n")
    mine = write("recipes/mine.yaml", "extends: base\noven: {low: 3}\n")
    layers = RECIPES.layers(mine)
    assert layers.file_of(["oven", "low"]) == mine
    assert layers.file_of(["oven", "top"]) == base
    assert layers.file_of(["add", "0", "salt"]) == base
    assert layers.file_of(["nowhere"]) == mine
