"""Reads from a dashboard of Kibana in a browser what each panel is: drawn, without data, loading, or an error.

The marks are those that Kibana's reporting and functional tests read, in 8.19 to 9.x:

    data-shared-items-count        number of panels of the board (dashboard_viewport.tsx)
    embeddablePanel                a panel; its heading has data-test-subj embeddablePanelHeading-...
    data-render-complete="true"    a drawn panel, with data-shared-item (reporting waits for it); links have none
    embeddableError                an error in place of a panel (presentation_panel)
    embeddable-lens-failure        an error of Lens in place of a chart (visualization_error.tsx)
    lens-message-list-trigger      a badge of Lens at a panel; its title is "1 error" (x-pack functional tests of Lens)
    emptyPlaceholder, visNoResult  a chart without data
"""

from __future__ import annotations

import time
from dataclasses import dataclass

PATIENCE_S = 120
READ = """
const subject = (name, root) => [...root.querySelectorAll(`[data-test-subj="${name}"]`)];
const text = (one) => (one.innerText || one.textContent || '').trim().slice(0, 300);
const wrong = '[data-test-subj="embeddableError"], [data-test-subj="embeddable-lens-failure"],' +
    '[data-test-subj="embeddableStackTrace"], [data-render-error], .euiErrorBoundary';
const panels = subject('embeddablePanel', document).map((panel) => {
    const errors = [...panel.querySelectorAll(wrong)].map(text);
    // the list opens on a click only; the title of its badge has the numbers: "1 error", "2 errors, 1 warning"
    const badges = [...panel.querySelectorAll('[data-test-subj="lens-message-list-trigger"]')];
    errors.push(...badges.map((one) => one.title).filter((title) => /error/.test(title)));
    const item = panel.matches('[data-shared-item]') ? panel : panel.querySelector('[data-shared-item]');
    const drawn = item ? item.matches('[data-render-complete="true"]')
        || !!item.querySelector('[data-render-complete="true"]')
        : !!panel.querySelector('[id^="dashboardLink--"]');
    const heading = panel.querySelector('[data-test-subj^="embeddablePanelHeading"], h2');
    return {
        title: panel.dataset.title || (item && item.dataset.title) || (heading ? text(heading) : ''),
        errors,
        state: errors.length ? 'error' : !drawn ? 'loading'
            : panel.querySelector('[data-test-subj="emptyPlaceholder"], [data-test-subj="visNoResult"]') ? 'empty'
            : 'drawn',
    };
});
const holder = document.querySelector('[data-shared-items-count]');
const loading = document.querySelector('[data-test-subj="globalLoadingIndicator"]');
return {count: holder ? Number(holder.dataset.sharedItemsCount) : null, loading: !!loading, panels};
"""


@dataclass(frozen=True)
class PanelState:
    title: str
    state: str
    errors: tuple[str, ...] = ()


def panels_now(browser) -> tuple[int | None, list[PanelState]]:
    """Number of panels that the board has; None while it opens. And the state of each panel on the page."""
    read = browser.execute_script(READ)
    states = [PanelState(one["title"], one["state"], tuple(one["errors"])) for one in read["panels"]]
    return None if read["loading"] else read["count"], states


def settled_panels(browser, patience_s: float = PATIENCE_S) -> list[PanelState]:
    """The panels, when each is drawn, empty or an error. A panel is drawn when it is in view, so the page scrolls."""
    end_s = time.monotonic() + patience_s
    while True:
        count, states = panels_now(browser)
        if count and len(states) == count and all(one.state != "loading" for one in states):
            return states
        assert time.monotonic() < end_s, f"{count} panels, after {patience_s:.0f} s: {states}"
        browser.execute_script(
            "const waiting = [...document.querySelectorAll('[data-test-subj=\"embeddablePanel\"]')]"
            ".find((one) => !one.querySelector('[data-render-complete=\"true\"]'));"
            "if (waiting) waiting.scrollIntoView({block: 'center'});"
        )
        time.sleep(0.5)


def wrong(states: list[PanelState]) -> list[str]:
    """A line for each panel with an error."""
    return [f"{one.title}: {' | '.join(one.errors)}" for one in states if one.state == "error"]
