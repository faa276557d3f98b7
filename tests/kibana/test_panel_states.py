"""The reader of a board, on pages with the marks of Kibana: it needs a browser, and no Kibana."""

from __future__ import annotations

import pytest
from kibana.panel_states import PanelState, panels_now, settled_panels, wrong

DRAWN = '<div data-shared-item data-title="Orders" data-render-complete="true"><canvas></canvas></div>'
LATE = '<div data-shared-item data-title="Late" data-render-complete="false"></div>'
EMPTY = f'{DRAWN[:-6]}<div data-test-subj="emptyPlaceholder">No results found</div></div>'.replace("Orders", "Nothing")
LENS = (
    '<div data-shared-item data-title="Wrong" data-render-complete="true">'
    '<div data-test-subj="embeddable-lens-failure"><p>Field x was not found.</p></div></div>'
)
BROKEN = (
    '<h2 data-test-subj="embeddablePanelHeading-Broken">Broken</h2><div data-test-subj="embeddableError">No view</div>'
)
LINKS = '<div data-test-subj="links--component"><a id="dashboardLink--revenue">Revenue</a></div>'


@pytest.fixture
def page(chromium, tmp_path):
    def opened(*contents, count=None, more=""):
        panels = "".join(f'<div data-test-subj="embeddablePanel">{one}</div>' for one in contents)
        file = tmp_path / "board.html"
        file.write_text(f'<div data-shared-items-count="{count or len(contents)}">{panels}</div>{more}')
        chromium.get(file.as_uri())
        return chromium

    yield opened
    chromium.get("about:blank")


def test_each_state_is_read(page):
    states = settled_panels(page(DRAWN, EMPTY, LENS, BROKEN, LINKS), 5)
    assert [one.state for one in states] == ["drawn", "empty", "error", "error", "drawn"]
    assert [one.title for one in states[:4]] == ["Orders", "Nothing", "Wrong", "Broken"]
    assert wrong(states) == ["Wrong: Field x was not found.", "Broken: No view"]


def test_error_badge_is_an_error_and_a_warning_is_none(page):
    badge = '<button data-test-subj="lens-message-list-trigger" title="{}"></button></div>'
    contents = (DRAWN[:-6] + badge.format("1 error, 1 warning"), DRAWN[:-6] + badge.format("1 warning"))
    assert wrong(settled_panels(page(*contents), 5)) == ["Orders: 1 error, 1 warning"]


def test_board_without_errors_has_none(page):
    assert wrong(settled_panels(page(DRAWN, LINKS), 5)) == []


def test_a_panel_without_content_is_awaited(page):
    """Before its embeddable is there, a panel has neither an item nor an error."""
    with pytest.raises(AssertionError, match="loading"):
        settled_panels(page(DRAWN, "<h2>Soon</h2>"), 1)


@pytest.mark.parametrize("contents", [(DRAWN, LATE), (LATE,)])
def test_a_panel_that_loads_is_awaited(page, contents):
    with pytest.raises(AssertionError, match="Late"):
        settled_panels(page(*contents), 1)


def test_a_missing_panel_is_awaited(page):
    with pytest.raises(AssertionError, match="2 panels"):
        settled_panels(page(DRAWN, count=2), 1)


def test_a_late_panel_is_read_when_it_is_drawn(page):
    script = (
        "<script>setTimeout(() => "
        "document.querySelector('[data-shared-item]').dataset.renderComplete = 'true', 800)</script>"
    )
    assert settled_panels(page(LATE, more=script), 10) == [PanelState("Late", "drawn")]


def test_page_without_a_board_has_no_count(page, chromium):
    chromium.get("about:blank")
    assert panels_now(chromium) == (None, [])
