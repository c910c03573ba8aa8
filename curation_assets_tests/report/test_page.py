from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from html import escape
from html.parser import HTMLParser

import pytest

from curation_assets.report import formatting, svg
from curation_assets.report.data import (
    AtlasSummary,
    ContaminationSummary,
    DuplicateGroup,
    DuplicatesSummary,
    EvidencePair,
    FateSummary,
    LeftOutSummary,
    ReportData,
    SampleView,
)
from curation_assets.report.page import render_report
from curation_assets_tests.report import samples

PAPER = "https://arxiv.org/abs/2405.15613"
VOID = {"meta", "img", "br"}
BLOCKS = {"td", "th", "p", "li", "dt", "dd", "small", "h2", "h3", "caption"}


class Page(HTMLParser):
    """Collects elements and text, and insists on balanced tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag in BLOCKS:
            self.text += " "
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.text += data

    def attributes(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(autouse=True, scope="module")
def _figures_are_not_drawn() -> Iterator[None]:
    # Drawing takes most of a rendering's time, and test_svg looks at the figures themselves.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(svg, "svg", _blank)
        yield


def _blank(figure: object, name: str, label: str, colours: object = None) -> str:
    return f'<svg role="img" aria-label="{escape(label)}"><path id="{name}-m"/><use href="#{name}-m"/></svg>'


def page(**changes: object) -> Page:
    return Page(render_report(samples.report(**changes)))


def test_the_page_is_self_contained() -> None:
    html = render_report(samples.report())
    rendered = Page(html)
    assert rendered.attributes("svg")
    links = [a["href"] for a in rendered.attributes("a") if not a["href"].startswith("#")]
    assert links == [PAPER]
    assert all(img["src"].startswith("data:image/") for img in rendered.attributes("img"))
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in rendered.elements}
    assert "@import" not in html
    assert "url(" not in html
    assert re.findall(r"https?://[^\"<]+", html) == [PAPER]
    policy = next(meta for meta in rendered.attributes("meta") if "http-equiv" in meta)
    assert "default-src 'none'" in policy["content"]


def test_the_page_is_the_same_every_time() -> None:
    assert render_report(samples.report()) == render_report(samples.report())


@pytest.mark.parametrize(
    "shown",
    [
        *(
            "12,345",
            "24 shards",
            "1,500",
            "12.2% of the pool",
            "+54%",
            "± 3.0% in effective labels (subgroup)",
        ),
        *("20.2 ± 0.75", "★ 26.3", "40.4", "80.0% ± 3.0%", "★ 0.300 ± 0.002", "0.400", "140 ± 1.25"),
        *("from level 1 30.3", "chosen from level 2 40.4", "It costs a little."),
        "Quotas start at level 2, chosen without labels by diversity and evenness: 9.10 for level 1, 9.40 for level 2.",
        *("17.2", "18.7%", "0.613", "4,322", "300"),
        *("2,345", "19.0% of the pool", "678 selected", "28.9%", "cats 1,999", "dogs 246", "Cluster 2.13"),
        *("655 of 13,000 samples (5.0%)", "undecodable 600", "too small 55"),
        *("sha256:8d1f0c6b", "efficientnet_lite0", "levels.0.n_clusters 300", "engine.name local", "seed 17"),
        *("655 samples were rejected.", "Drawings with a long tail.", "recursive", "(subgroup)"),
    ],
)
def test_the_page_shows(shown: str, rendered: Page) -> None:
    assert shown in rendered.text


@pytest.fixture(scope="module")
def rendered() -> Page:
    return page()


def test_the_verdict_stands_above_everything_with_what_it_cost() -> None:
    words = {"sentence": "Balancing made it worse: <b>", "costs": ["It costs coverage."], "gain": -0.2}
    target = dataclasses.replace(samples.target(), comparison=samples.comparison(**words))
    text = page(targets=[target]).text
    assert (
        text.index("Balancing made it worse: <b>") < text.index("It costs coverage.") < text.index("12,345")
    )
    assert "\u221220%" in text


def test_the_better_baseline_is_marked_in_every_measure_that_is_good_or_bad(rendered: Page) -> None:
    # Effective labels, coverage, Vendi and clusters of flat k-means; the distance to the pool of random.
    assert rendered.text.count("★") == 5 + 1
    compared = samples.comparison()
    assert compared.best_baseline(samples.Key(None, "pool_distance")) == "random"
    assert compared.best_baseline(samples.Key(None, "isolation")) is None


def test_a_target_that_is_not_compared_has_no_verdict() -> None:
    text = page(targets=[dataclasses.replace(samples.target(), comparison=None, start_levels=())]).text
    assert "A subset of 1,500 samples, not yet compared with others." in text
    assert "Beside other subsets" not in text
    assert "Quotas start at level 2." in text


def test_frontier_and_probes_are_shown_where_they_are(rendered: Page) -> None:
    assert "Which size" not in rendered.text
    assert "probes learn" not in rendered.text
    text = page(frontier=samples.frontier(), probes=[samples.probe()]).text
    for shown in ("Which size", "random 36.0% ± 1.0% 40.0% 12.5 ± 0.50", "n/a", "cats 90.0% 50.0% 20"):
        assert shown in text
    assert "7 of 90 labels have a lower accuracy" in text
    assert "these lose most" in text
    assert "Target balanced-1k" in text


def test_both_grids_hold_equally_many_captioned_pictures(rendered: Page) -> None:
    captions = [img["alt"] for img in rendered.attributes("img")]
    assert sum(caption.startswith("random draw") for caption in captions) == 8
    assert sum(caption.startswith("balanced draw") for caption in captions) == 8
    assert all(captions), "every image has an alternative text"
    assert "8 of the 1,500 selected samples" in rendered.text


def test_headings_of_tables_have_a_scope(rendered: Page) -> None:
    assert all("scope" in heading for heading in rendered.attributes("th"))


def test_the_contents_list_every_section_and_nothing_else() -> None:
    many = {
        "frontier": samples.frontier(),
        "probes": [samples.probe()],
        "targets": [samples.target("a<b"), samples.target()],
    }
    many["fates"] = [FateSummary("selected", 30, {})]
    many["duplicates"] = DuplicatesSummary(13_000, {}, 0, [])
    many["atlas"] = AtlasSummary("embedding-atlas x", 1, 1, None)
    rendered = page(**many)
    headings = [f"#{heading['id']}" for heading in rendered.attributes("h2")]
    assert len(headings) > 10
    assert [a["href"] for a in rendered.attributes("a") if a["href"].startswith("#")][
        : len(headings)
    ] == headings
    assert "<!--" not in render_report(samples.report())
    ids = [attributes["id"] for _, attributes in rendered.elements if "id" in attributes]
    references = [use["href"].removeprefix("#") for use in rendered.attributes("use")]
    assert set(references) <= set(ids)


def test_the_ids_of_a_page_are_unique() -> None:
    targets = [samples.target("small"), samples.target("large")]
    rendered = page(targets=targets, frontier=samples.frontier())
    ids = [attributes["id"] for _, attributes in rendered.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_cells_of_wide_tables_name_their_column(rendered: Page) -> None:
    html = render_report(samples.report())
    for table in re.findall(r'<table class="[^"]*stacked.*?</table>', html, re.DOTALL):
        assert table.count("<td") == table.count("data-column=")
        names = {" ".join(name.split()) for name in re.findall(r'data-column="([^"]+)"', table)}
        assert len(names) == len(re.findall(r"<th scope=.col.", table)) - 1


def test_hostile_text_is_escaped() -> None:
    attack = '"><script>alert(1)</script><!-- contents -->'
    thumbnail = SampleView(attack, samples.drawings()[0])
    target = dataclasses.replace(
        samples.target(attack), random_sample=[thumbnail], balanced_sample=[thumbnail]
    )
    html = render_report(
        samples.report(
            pool=attack,
            description=attack,
            targets=[target],
            warnings=[attack],
            rejections={attack: 655},
            settings={attack: attack},
            encoder=attack,
            embedding_speed=attack,
            label_name=attack,
        )
    )
    assert "<script" not in html
    rendered = Page(html)
    titles = [img.get("title", "") for img in rendered.attributes("img")]
    assert titles.count(attack) == 2
    assert attack in rendered.text


def test_without_labels_their_parts_vanish() -> None:
    cluster = dataclasses.replace(samples.report().clusters[0], top_labels=[])
    words = {"sentence": "Balancing worked."}
    unlabelled = dataclasses.replace(
        samples.target(labels=False), comparison=samples.comparison(labels=False, **words)
    )
    rendered = page(label_name=None, targets=[unlabelled], clusters=[cluster])
    assert "label" not in rendered.text.lower().replace("without labels", "")
    assert "in Vendi score" in rendered.text
    assert all("title" in img for img in rendered.attributes("img"))
    assert len(rendered.attributes("svg")) == len(samples.comparison(labels=False).keys) + 1


def test_several_targets_get_an_overview_and_a_section_each() -> None:
    rendered = page(targets=[samples.target("small"), samples.target("large", even=1.0)])
    ids = [heading["id"] for heading in rendered.attributes("h2") if "id" in heading]
    assert ids[1:6] == ["pool", "targets", "target-1", "target-2", "levels"]
    links = [a["href"] for a in rendered.attributes("a")]
    assert links.count("#target-1") == links.count("#target-2") == 2
    assert "Target small" in rendered.text
    assert "Target large" in rendered.text


def test_without_rejections_the_page_says_so() -> None:
    rendered = page(n_rejected=0, rejections={}, warnings=[])
    assert "None: every sample of the pool was accepted." in rendered.text
    assert "Warnings" not in rendered.text


def test_a_single_level_and_no_target_are_enough() -> None:
    rendered = page(
        levels=[dataclasses.replace(samples.level(1, 5), resampling_steps=0, samples_per_cluster=None)],
        targets=[],
        clusters=[],
        pool_sample=[],
    )
    assert "no target is set yet" in rendered.text
    assert "A single level clusters the samples." in rendered.text
    assert "centroids" not in rendered.text


def test_an_empty_pool_is_reported() -> None:
    empty = ReportData("empty", "", 0, 0, 0, {}, None, [], [samples.target()], [], [], "none", {}, "none", [])
    assert "n/a of the pool" in Page(render_report(empty)).text


def test_duplicates_and_contamination_are_shown_with_their_twins() -> None:
    views = samples.thumbnails(3, "copy")
    group = DuplicateGroup(samples.thumbnails(1, "original")[0], views, 9, 0.9512, 0.98)
    equal = DuplicateGroup(samples.thumbnails(1, "twin")[0], [], 2)
    pair = EvidencePair(views[0], SampleView("q7"), "semantic", 0.9876)
    rendered = page(
        duplicates=DuplicatesSummary(13_000, {"exact": 420, "semantic": 160}, 350, [group, equal], 0.95),
        contamination=[
            ContaminationSummary("quiz", {"semantic": 2}, [pair]),
            ContaminationSummary("other", {}, []),
        ],
    )
    for shown in (
        "580 of 13,000 samples (4.5%)",
        "350 groups",
        "9 removed 0.951 to 0.980",
        "0.988",
        "q7",
        "Clean:",
    ):
        assert shown in rendered.text
    for shown in ("2 of 350 groups", "threshold of 0.95", "2 removed equal content"):
        assert shown in rendered.text
    captions = [img["alt"] for img in rendered.attributes("img")]
    assert captions.index("original 0") < captions.index("copy 0")
    nothing = page(duplicates=DuplicatesSummary(13_000, {}, 0, []))
    assert "None among 13,000 samples." in nothing.text


def test_what_is_left_out_is_a_table_of_causes() -> None:
    line = LeftOutSummary(1_014, "files without a known extension", ".jp2 1,008, .<b> 6")
    rendered = page(left_out=[line])
    assert "Left out of the pool" in rendered.text
    assert "files without a known extension 1,014 .jp2 1,008, .<b> 6" in rendered.text
    assert "Left out of the pool" not in page(left_out=[]).text


def test_fates_add_up_and_take_the_place_of_rejections() -> None:
    fates = [FateSummary("selected", 30, {"small": 30}), FateSummary("rejected", 10, {"empty_text": 10})]
    rendered = page(fates=fates)
    for shown in ("Each of the pool's 40 rows", "selected 30 75.0%", "empty_text 10 25.0%", "Total 40 100%"):
        assert shown in rendered.text
    assert "Rejected samples" not in rendered.text


def test_the_atlas_is_pictured_with_its_command() -> None:
    command = "embedding-atlas '/a path/<x>/atlas.parquet' --text text"
    rendered = page(atlas=AtlasSummary(command, 10_000, 2_000_000, samples.drawings()[0]))
    assert command in rendered.text
    assert "10,000 of 2,000,000 embedded samples" in rendered.text


def test_samples_without_a_picture_are_cards() -> None:
    views = [SampleView("a1 · cats", text="<b>A cat</b> sat."), SampleView("a2", note="7 tokens")]
    html = render_report(samples.report(pool_sample=views))
    assert '<p class="text" dir="auto">&lt;b&gt;A cat&lt;/b&gt; sat.</p>' in html
    assert "a2 7 tokens" in Page(html).text


def test_unknown_image_formats_are_refused() -> None:
    with pytest.raises(ValueError, match="PNG, JPEG or WebP"):
        page(pool_sample=[SampleView("moving", b"GIF89a")])


@pytest.mark.parametrize(
    ("form", "value", "text"),
    [
        ("whole", 1_234_567, "1,234,567"),
        ("whole", None, "n/a"),
        ("decimal", 1.234, "1.23"),
        ("decimal", 9.996, "10.0"),
        ("decimal", 99.96, "100"),
        ("decimal", 12_345.6, "12,346"),
        ("decimal", float("nan"), "n/a"),
        ("compact", 0.000123, "1.230e\u221204"),
        ("compact", 4_321.5, "4,322"),
        ("percent", 0.99999, ">99.9%"),
        ("percent", 0.00001, "<0.1%"),
        ("percent", 1.0, "100%"),
        ("percent", 0.0, "0%"),
        ("change", 1.234, "+123%"),
        ("change", -0.056, "\u22125.6%"),
        ("change", None, "n/a"),
    ],
)
def test_numbers_are_written_with_sensible_digits(form: str, value: float | None, text: str) -> None:
    assert formatting.FILTERS[form](value) == text
