"""The Library tab over many adapters: its weight is bounded, a tick without news does nothing, a selection is kept."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from studio.home import Home
from studio.library import adapter_store, lineage
from studio.store import Store
from studio.ui import library_bar, library_cards, library_tab, library_view
from studio.ui.library_details import about_html, tags_html
from studio.ui.library_panel import Opened, fits
from studio.ui.library_view import View
from studio.ui.page import Page
from studio.words import Sentence
from tests.library.many import LONG, fill

MOST_BYTES = 120_000  # of the cards on one page, and of the choices of the filters


def page_over(folder) -> Page:
    home = Home(folder)
    return Page(None, "en", SimpleNamespace(home=home, store=Store(home.database)), None)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page over a library of a thousand adapters."""
    page = page_over(tmp_path_factory.mktemp("home"))
    fill(page.home, page.store, 1000)
    return page


def test_the_page_does_not_grow_with_the_library(page, tmp_path):
    few = page_over(tmp_path / "few")
    fill(few.home, few.store, library_cards.PAGE)
    weights = []
    for each in (few, page):
        drawn = library_cards.cards_html(each, View())
        assert drawn.count("<article") == library_cards.PAGE
        weights.append(len(drawn.encode()) + len(str(library_view.offered(each, View(), True)).encode()))
    assert weights[1] < MOST_BYTES and weights[1] < 1.25 * weights[0]


def test_long_names_notes_and_tags_do_not_make_a_page_heavy(page, tmp_path):
    wide = page_over(tmp_path / "wide")
    for adapter in fill(wide.home, wide.store, library_cards.PAGE):
        card = wide.store.adapter(adapter)["card"] | {"base": "/folder" * 50, "notes": "x" * adapter_store.MAX_NOTES}
        tags = [f"{at:02d}" + "t" * (adapter_store.MAX_TAG - 2) for at in range(adapter_store.MAX_TAGS)]
        wide.store.change_adapter(adapter, name=LONG, card=card | {"tags": tags})
    assert len(library_cards.cards_html(wide, View()).encode()) < 3 * MOST_BYTES


def test_a_tick_without_news_asks_for_two_rows_and_draws_nothing(page, monkeypatch):
    parts = SimpleNamespace(cards="cards", bar="bar", seen="seen", controls=SimpleNamespace(filters=list("abcde")))
    view = View()
    first = library_tab.drawn(page, parts, view, "", owner=True)
    assert "<article" in first["cards"]
    monkeypatch.setattr(library_cards, "cards_html", None)  # calling it would fail
    asked = []
    page.store._db.set_trace_callback(asked.append)
    try:
        again = library_tab.drawn(page, parts, view._replace(chosen="adapter-0001"), first["seen"], owner=True)
    finally:
        page.store._db.set_trace_callback(None)
    assert list(again) == ["seen"] and len(asked) == 2, asked
    monkeypatch.undo()
    page.store.change_adapter("adapter-0999", name="New name")
    assert "New name" in library_tab.drawn(page, parts, view, first["seen"], owner=True)["cards"]


def test_a_page_beyond_the_last_and_a_narrow_search(page):
    assert "adapter-0000" in library_cards.cards_html(page, View(at="41"))
    assert library_cards.cards_html(page, View(at="900")).count("<article") == 1000 % library_cards.PAGE
    assert library_cards.cards_html(page, View(words="adapter-0500")).count("<article") == 1
    assert "search for less" in library_cards.cards_html(page, View(words="nothing like it"))
    assert "trash is empty" in library_cards.cards_html(page, View(deleted=True))


def test_a_bound_is_in_percent_for_shares_and_as_it_is_for_losses():
    assert View(metric="exact_match", bound=90).query().bound == 0.9
    assert View(metric="eval_loss", bound=1.5).query().bound == 1.5
    assert View(metric="", bound=90).query().metric is None


def test_a_visitor_sees_what_is_shown_and_no_button(page):
    adapter_store.show(page.home, page.store, "adapter-0003")
    drawn = library_cards.cards_html(page, View(deleted=True, words="adapter"), owner=False)
    assert drawn.count("<article") == 1 and "data-pick" not in drawn and 'data-act="delete"' not in drawn
    assert library_bar.bar_html(page, View(chosen="adapter-0003"), library_tab.PANELS, owner=False) == ""


def test_the_selection_keeps_its_order_and_what_other_pages_hold():
    view = View(chosen="b,x,a")
    assert library_bar.picked(view, ["a", "c"], ["a", "b", "c"]) == "x,a,c"
    assert library_bar.picked(view, ["a", "c"], ["a", "b", "c"]) == library_bar.picked(
        View(chosen="x,a,c"), ["a", "c"], ["a", "b", "c"]
    )
    assert library_bar.picked(view, [], ["a", "b"]) == "x"


def test_the_bar_offers_the_panels_that_fit_the_number_selected(page):
    some = SimpleNamespace(TITLE="Some", MINIMUM=2, MAXIMUM=None, refusal=lambda page, rows: Sentence("Not today."))
    one, silent = SimpleNamespace(TITLE="One"), SimpleNamespace()
    assert [fits(one, count) for count in (0, 1, 2)] == [False, True, False]
    assert [fits(some, count) for count in (1, 2, 99)] == [False, True, True]
    panels = {"one": one, "some": some, "silent": silent}
    alone = library_bar.bar_html(page, View(chosen="adapter-0001"), panels)
    both = library_bar.bar_html(page, View(chosen="adapter-0001,gone,adapter-0002"), panels)
    assert 'data-act="one"' in alone and 'data-act="some"' not in alone and "silent" not in alone
    assert 'data-act="one"' not in both and 'title="Not today."' in both and "2 adapters selected" in both


def test_what_is_open_is_read_back():
    for opened in (Opened(), Opened("compare", ("a", "b"))):
        assert Opened.parse(str(opened)) == opened


def test_details_escape_what_people_write(page):
    evil = '<img src=x onerror="alert(1)">'
    card = page.store.adapter("adapter-0010")["card"]
    page.store.change_adapter(
        "adapter-0010",
        name=evil,
        card=card | {"tags": [evil[:40]], "parents": [lineage.parent("gone", evil, "blended")], "summary": evil},
    )
    row = page.store.adapter("adapter-0010")
    for drawn in (
        about_html(page, row),
        tags_html(page, row),
        library_cards.cards_html(page, View(words="adapter-0010")),
    ):
        assert "<img" not in drawn and "&lt;img" in drawn
    assert "(deleted)" in about_html(page, row)


def test_each_download_has_a_folder_of_its_own_until_it_is_old(tmp_path):
    import os

    from studio.ui.downloads import fresh_folder

    home = Home(tmp_path)
    one, two = fresh_folder(home), fresh_folder(home)
    (one / "a.zip").write_text("x")
    assert one != two and (one / "a.zip").exists()
    os.utime(two, (1, 1))
    fresh_folder(home)
    assert (one / "a.zip").exists() and not two.exists()
