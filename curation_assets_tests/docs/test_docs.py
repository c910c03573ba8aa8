"""The documentation names only what exists: links, paths, commands, make targets and environment variables."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from curation_assets.cli.main import cli
from curation_assets.pools import PoolSpec, load_pool_spec

REPOSITORY = Path(__file__).parent.parent.parent
PAGES = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")]
# It names what used to exist, too.
PRESENT = [page for page in PAGES if page.name != "CHANGELOG.md"]
ROOTS = ("curation_assets", "curation_assets_tests", "benchmarks", "docs", "pools/examples", "deploy")


def name(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        other = (page.parent / path).resolve() if path else page
        assert other.exists(), target
        assert not anchor or anchor in anchors(other), target


@pytest.mark.parametrize("page", PRESENT, ids=name)
def test_paths_exist(page: Path) -> None:
    for path in re.findall(rf"`((?:{'|'.join(ROOTS)})/[\w/.-]+)`", page.read_text()):
        assert (REPOSITORY / path).exists() or "..." in path, path


@pytest.mark.parametrize("page", PRESENT, ids=name)
def test_commands_and_their_options_exist(page: Path) -> None:
    for line in re.findall(r"curation-assets ([a-z][^`\n#|]*)", page.read_text()):
        command, *words = line.split()
        assert command in cli.commands, line
        options = {option for parameter in cli.commands[command].params for option in parameter.opts}
        options |= {"--help"} if isinstance(cli.commands[command], click.Command) else set()
        given = [word.strip("[],.()") for word in words if word.startswith(("--", "[--"))]
        assert set(given) <= options, line


@pytest.mark.parametrize("page", PRESENT, ids=name)
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE))
    named = re.findall(r"(?:`|^    )make ([a-z][a-z0-9-]*)", page.read_text(), flags=re.MULTILINE)
    assert set(named) <= targets


def test_every_variable_is_in_the_table() -> None:
    code = "\n".join(path.read_text() for path in (REPOSITORY / "curation_assets").rglob("*.py"))
    used = set(re.findall(r"\b(?:CURATION|DAGSTER)_[A-Z_]+[A-Z]\b", code))
    # Names of constants, and what passes between the command line and its own workers.
    assert {name for name in used if not name.endswith("_VARIABLE")} - {
        "CURATION_LIFELINE",
        "CURATION_CLAIM",
    } <= set(re.findall(r"`([A-Z_]+)`", (REPOSITORY / "docs/environment.md").read_text()))


def test_the_layout_names_every_room() -> None:
    """Folders and modules of the package, as CONTRIBUTING.md describes them."""
    layout = (REPOSITORY / "CONTRIBUTING.md").read_text().partition("## Where things are")[0]
    rooms = re.findall(r"^\| `([\w/]+?)(?:\.py|/)` \|", layout, flags=re.MULTILINE)
    described = set(rooms)
    package = REPOSITORY / "curation_assets"
    folders = {str(path.parent.relative_to(package)) for path in package.rglob("*.py")} - {"."}
    modules = {path.stem for path in package.glob("*.py")} - {"__init__"}
    assert described == folders | modules


def test_the_pool_of_the_readme_is_valid(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", (REPOSITORY / "README.md").read_text(), flags=re.DOTALL)
    (tmp_path / "web.yaml").write_text(block)
    assert load_pool_spec(tmp_path / "web.yaml").name == "web"


@pytest.mark.parametrize("page", PRESENT, ids=name)
def test_keys_in_yaml_blocks_exist(page: Path) -> None:
    """Blocks that begin with a key of a pool have such keys only; blocks about Dagster begin with others."""
    for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), flags=re.DOTALL):
        keys = re.findall(r"^(?:# )?([a-z_]+):", block, flags=re.MULTILINE)
        if keys[0] in PoolSpec.model_fields:
            assert set(keys) <= set(PoolSpec.model_fields), block
