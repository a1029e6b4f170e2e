"""A study as HTML and as Markdown: what it says, that it needs nothing else, and that names cannot break it."""

import builtins
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import core
from core.cli import main
from core.report.content import make_report
from core.report.html import as_html, inline
from core.report.markdown import as_markdown
from core.study.store.opening import StudyError

DEMO = Path(__file__).resolve().parents[3] / "explorer" / "demo"
WICKED = ["</script><img src=x onerror=alert(1)>", "a|b `c` *d*", "x & <y>"]


class Page(HTMLParser):
    """What a page holds: its tags, what it would load, and its texts outside of scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.loaded, self.texts = [], [], [], []
        self.specs = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append(tag)
        self.loaded += [found[name] for name in ("src", "href", "data", "srcset", "action") if found.get(name)]
        if tag not in ("meta", "br", "img", "link"):
            self.open.append((tag, found.get("id")))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == ("script", "specs"):
            self.specs = json.loads(data)
        elif self.open and self.open[-1][0] not in ("script", "style"):
            self.texts.append(data)

    @property
    def text(self):
        return " ".join("".join(self.texts).split())


@pytest.fixture(scope="module")
def wicked(tmp_path_factory):
    """A study whose classes, layers and folder would be markup if anybody let them."""
    folder = tmp_path_factory.mktemp("reports") / "<b>study & more"
    rng = np.random.default_rng(0)
    labels = np.repeat(WICKED, 20)
    centers = np.repeat(np.arange(3.0), 20)[:, None]
    layers = {"first <i>": rng.normal(size=(60, 4)), "last|`one`": centers + 0.4 * rng.normal(size=(60, 4))}
    core.study_from_features(layers, labels.tolist(), out=folder)
    return folder


@pytest.fixture(scope="module", params=["digits", "dogs"])
def bundled(request):
    return make_report(DEMO / request.param, write="python -m core report ...")


def grids(markdown):
    """Every table of a Markdown text as rows of cells."""
    blocks = re.findall(r"(?:^\|.*\|$\n?)+", markdown, re.M)
    return [[re.split(r"(?<!\\)\|", line)[1:-1] for line in block.strip().splitlines()] for block in blocks]


def test_html_needs_nothing_else_and_is_well_formed(bundled):
    page = Page(as_html(bundled))
    assert page.open == []
    assert page.loaded == []
    assert {"link", "img", "iframe", "object"}.isdisjoint(page.tags)
    assert "@import" not in (text := as_html(bundled))
    assert "default-src 'none'" in text


def test_html_has_every_chart_and_row(bundled):
    page = Page(as_html(bundled))
    charts = [chart for section in bundled.sections for chart in section.charts]
    assert len(page.specs) == len(charts) == page.tags.count("figure") >= 3
    tables = [table for section in bundled.sections for table in section.tables]
    assert page.tags.count("td") == sum(table.frame.size for table in tables) + len(bundled.facts)
    assert bundled.finding.headline in page.text
    assert bundled.repeat in page.text


def test_markdown_tables_have_rows_of_one_length(bundled):
    found = grids(as_markdown(bundled))
    assert len(found) >= 4
    for grid in found:
        assert len({len(row) for row in grid}) == 1
        assert all(re.fullmatch(r" -+:? ", cell) for cell in grid[1])


def test_markdown_says_what_the_study_says(bundled):
    text = as_markdown(bundled)
    assert text.splitlines()[0].endswith(bundled.finding.headline[1:])
    assert bundled.finding.detail in text
    assert all(f"- {finding}" in text for finding in bundled.findings)
    assert bundled.repeat in text
    assert "Caution" in text or not bundled.cautions


def test_values_are_those_of_the_study():
    study = core.load_study(DEMO / "digits")
    table = make_report(DEMO / "digits").sections[0].tables[0].frame
    rows = study.measurements
    rows = rows[(rows["measure"] == "separation") & (rows["split"] == "test") & (rows["sampling"] == "full")]
    expected = rows.set_index("layer").loc["block6b_dwconv"]
    row = table[table["Layer"].str.startswith("block6b_dwconv")].iloc[0]
    assert row["Layer"] == "block6b_dwconv (best)"
    assert row["SI, test"] == f"{expected['value']:.3f} [{expected['low']:.3f}, {expected['high']:.3f}]"
    assert row["Chance, test"] == f"{expected['chance']:.4f}"
    assert row["Chance, train"] != row["Chance, test"]


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [
        ("dogs", "The whole network's accuracy on 1,200 test images is **0.873**.", ["Accuracy without it", "Verdict"]),
        ("digits", "has not been measured. `python -m core blocks STUDY --verify` measures it.", []),
    ],
)
def test_blocks_have_a_verdict_only_where_the_accuracy_was_measured(name, text, columns):
    section = next(one for one in make_report(DEMO / name).sections if one.title == "Block by block")
    assert text in section.text
    frame = section.tables[0].frame
    assert {"Block", "SI before", "SI after", "Difference of SI", *columns} <= set(frame.columns)
    assert ("Verdict" in frame.columns) == bool(columns)


def test_samples_to_check_are_no_errors(bundled):
    text = " ".join(bundled.findings)
    assert "**Samples to check.**" in text
    assert "That alone makes no label wrong." in text
    assert "error" not in text


def test_names_are_shown_and_are_never_markup(wicked):
    page = Page(as_html(make_report(wicked)))
    assert {"i", "b", "img"}.isdisjoint(page.tags)
    for name in (*WICKED, "<b>study & more", "first <i>", "last|`one`"):
        assert name in page.text
    assert {row["class_name"] for rows in page.specs[1]["datasets"].values() for row in rows} == set(WICKED)
    text = as_markdown(make_report(wicked))
    assert "<img" not in re.sub(r"\\<", "", text)
    assert all(len({len(row) for row in grid}) == 1 for grid in grids(text))


def test_a_study_of_one_layer_without_neighbors_is_reported(tmp_path):
    study = core.study_from_features({"only": np.eye(6)}, [0, 0, 0, 1, 1, 1], out=tmp_path / "study")
    (study.path / "neighbors.parquet").unlink()
    (study.path / "classes.parquet").unlink()
    report = make_report(study.path)
    assert [section.title for section in report.sections] == ["Layer by layer"]
    assert Page(as_html(report)).open == []
    assert "stores no neighbors" in as_markdown(report)


def test_the_absolute_place_is_not_told(tmp_path, monkeypatch):
    core.study_from_features({"only": np.eye(6)}, [0, 0, 0, 1, 1, 1], out=tmp_path / "study")
    monkeypatch.chdir(tmp_path)
    assert main(["report", "study", "--out", "report.html", "--markdown", "report.md"]) == 0
    for name in ("report.html", "report.md"):
        text = Path(name).read_text(encoding="utf-8")
        assert str(tmp_path) not in text
        assert "python -m core report study --out report.html --markdown report.md" in text


def test_the_markdown_can_be_printed(wicked, capsys):
    assert main(["report", str(wicked), "--markdown", "-"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("## \\<b\\>study & more: the classes are largely to almost completely separated")
    assert "--markdown -" in printed


def test_neither_file_is_wrong_usage(wicked, capsys):
    assert main(["report", str(wicked)]) == 2
    assert "out must name a file, or markdown; got neither" in capsys.readouterr().err


def test_a_report_is_no_pdf(wicked, tmp_path, capsys):
    assert main(["report", str(wicked), "--out", str(tmp_path / "report.pdf")]) == 2
    assert "out must be a file that ends in .html; got 'report.pdf'" in capsys.readouterr().err
    assert not list(tmp_path.glob("report.*"))


def test_one_file_cannot_hold_both_reports(wicked, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["report", str(wicked), "--out", "both.html", "--markdown", str(tmp_path / "both.html")]) == 2
    assert "out and markdown must be two files; got 'both.html' for both." in capsys.readouterr().err
    assert not list(tmp_path.glob("both.*"))


def test_without_the_javascript_html_is_refused_and_markdown_is_not(wicked, tmp_path, monkeypatch, capsys):
    real = builtins.__import__

    def missing(name, *arguments, **options):
        if name == "vl_convert":
            raise ModuleNotFoundError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    assert main(["report", str(wicked), "--out", str(tmp_path / "report.html")]) == 1
    assert "pip install vl-convert-python" in capsys.readouterr().err
    assert main(["report", str(wicked), "--markdown", str(tmp_path / "report.md")]) == 0
    assert not (tmp_path / "report.html").exists()


def test_without_altair_html_is_refused_and_markdown_is_not(wicked, tmp_path, monkeypatch, capsys):
    for name in [name for name in sys.modules if name.startswith("core.report.charts")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "altair", None)  # whose import now fails
    assert main(["report", str(wicked), "--out", str(tmp_path / "report.html")]) == 1
    error = capsys.readouterr().err
    assert "charts need Altair, which is not installed: pip install altair. Or install the extra `report`." in error
    assert "--markdown FILE alone" in error
    assert main(["report", str(wicked), "--markdown", str(tmp_path / "report.md")]) == 0


def test_a_folder_without_values_is_refused(tmp_path):
    with pytest.raises(StudyError, match="must be a study folder"):
        make_report(tmp_path)


@pytest.mark.parametrize(
    ("markdown", "html"),
    [
        ("a **b** *c* `d_e`", "a <strong>b</strong> <em>c</em> <code>d_e</code>"),
        (r"\*no\* \<i\> a\|b", "*no* &lt;i&gt; a|b"),
        ("<b> & 'c'", "&lt;b&gt; &amp; &#x27;c&#x27;"),
        (r"**a\*\*b**", "<strong>a**b</strong>"),
    ],
)
def test_inline_markdown(markdown, html):
    assert inline(markdown) == html


def test_what_a_training_changed_is_told_with_interval_and_samples():
    report = make_report(DEMO / "digits-training")
    (section,) = [one for one in report.sections if one.title == "While training"]
    assert section.text.startswith("From epoch 0 to epoch 10: SI **")
    assert "layers compared by name, with 359 samples." in section.text
    assert "95% interval" in section.text
