"""What the UI shows of a report: verdicts first, a link that opens, figures."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from curation_assets.defs.shown import SHOWN
from curation_assets.steps.context import PoolAccess
from curation_assets.storage.outputs import Recipe
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets_tests.projects import environment_of, spec_of

VERDICT = "Balancing worked: 67.6 effective labels."


def test_the_report_shows_its_verdicts_and_a_link_that_opens(tmp_path: Path) -> None:
    pool = PoolAccess(spec_of(), PoolStorage(str(tmp_path), "p"), str(tmp_path))
    output = pool.storage.output("curation_report")
    with output.writing(Recipe({}, {}, "1")) as writer:
        writer.text("curation_report.html", "<h1>Report</h1>")
        Image.new("RGB", (4, 4)).save(writer.file("comparison.png"), "PNG")
        writer.summary["verdicts"] = {"small": VERDICT}
    with environment_of({"CURATION_REPORT_PORT": "3123"}):
        shown = SHOWN["curation_report"](pool, output)
    assert list(shown) == ["verdicts/small", "open", "served_by", "comparison", "report"]
    assert shown["verdicts/small"] == VERDICT
    assert shown["open"].url == "http://127.0.0.1:3123/p/curation_report.html"
    assert shown["comparison"].md_str.startswith("![every measure")
    assert shown["report"].path == str(tmp_path / "p" / "curation_report" / "curation_report.html")


def test_a_raw_pool_shows_the_members_that_are_left_out(tmp_path: Path) -> None:
    pool = PoolAccess(spec_of(), PoolStorage(str(tmp_path), "p"), str(tmp_path))
    output = pool.storage.output("raw_pool", "a")
    with output.writing(Recipe({}, {}, "1")) as writer:
        writer.summary["left_out"] = {"without a known extension": {".idx": 7}}
    (line,) = SHOWN["raw_pool"](pool, output)["left_out"].records
    assert line.data == {"n": 7, "what": "members without a known extension", "kinds": ".idx 7"}
    with output.writing(Recipe({}, {}, "1")) as writer:
        writer.summary["left_out"] = {}
    assert SHOWN["raw_pool"](pool, output) == {}
