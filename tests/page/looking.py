"""What somebody does with the page, and sees on it."""

from __future__ import annotations

import time
import urllib.parse

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

PATIENCE_S = 30


class Reader:
    def __init__(self, browser, address):
        self.browser = browser
        self.address = address
        self.expected = ()

    def open(self, **parameters):
        """Goes to a page and waits until it is drawn."""
        self.browser.get(self.address + "?" + urllib.parse.urlencode(parameters, doseq=True))
        self.drawn()
        return self

    def drawn(self):
        self.wait(
            "return !document.querySelector('[aria-busy]') && document.querySelector('main > *') && "
            "![...document.querySelectorAll('main .state')].some((one) => one.textContent.startsWith('Loading'))"
        )

    def wait(self, script, *arguments, patience_s=PATIENCE_S):
        """The first value of a script that is true."""
        end = time.monotonic() + patience_s
        while not (result := self.js(script, *arguments)):
            assert time.monotonic() < end, (script, self.text("main")[:800], self.text("#problem"))
            time.sleep(0.05)
        return result

    def js(self, script, *arguments):
        return self.browser.execute_script(script, *arguments)

    def headed(self, title):
        """Waits until a page of this title is there, whole."""
        self.wait("return document.querySelector('h1')?.textContent.startsWith(arguments[0])", title)
        self.drawn()

    def text(self, selector):
        return self.js("return document.querySelector(arguments[0])?.textContent ?? ''", selector)

    def click(self, selector):
        self.js("document.querySelector(arguments[0]).click()", selector)

    def press(self, selector):
        """A click by the mouse, which needs a visible element that nothing covers."""
        try:
            self._press(selector)
        except StaleElementReferenceException:  # drawn again in between
            self._press(selector)

    def _press(self, selector):
        element = self.element(selector)
        self.js("arguments[0].scrollIntoView({ block: 'center' })", element)
        element.click()

    def press_text(self, selector, text):
        """A click on the element that shows this text."""
        find = (
            "return [...document.querySelectorAll(arguments[0])]"
            ".find((one) => one.checkVisibility() && one.textContent.trim().startsWith(arguments[1]))"
        )
        try:
            self.wait(find, selector, text).click()
        except StaleElementReferenceException:  # drawn again in between
            self.wait(find, selector, text).click()

    def element(self, selector):
        return self.wait("return document.querySelector(arguments[0])", selector)

    def choose(self, label, text):
        """Choose from a drop-down list by its words, and wait for the page."""
        before = self.js("return performance.getEntriesByName('drawn').length")
        try:
            self._select(label, text)
        except StaleElementReferenceException:  # the bar was drawn again in between
            self._select(label, text)
        self.redrawn(before)

    def _select(self, label, text):
        Select(self.element(f"select[data-key='{label}']")).select_by_visible_text(text)

    def redrawn(self, before):
        self.wait("return performance.getEntriesByName('drawn').length > arguments[0]", before)
        self.drawn()

    def date(self, label, day):
        """Type a day, 2026-05-20, into a date field as in an American browser, and wait for the page."""
        before = self.js("return performance.getEntriesByName('drawn').length")
        field = self.element(f"input[aria-label='{label}']")
        year, month, of_month = day.split("-")
        field.send_keys(f"{month}{of_month}{year}", Keys.ENTER)
        self.redrawn(before)

    def menu(self, panel, entry):
        """Choose from the menu of a panel."""
        self.press(f"#{panel} .menu summary")
        self.press_text(f"#{panel} .menu button, #{panel} .menu a", entry)

    def keys(self, *keys):
        ActionChains(self.browser).send_keys(*keys).perform()

    def visit(self, title):
        """Open a page by its link."""
        before = self.js("return performance.getEntriesByName('drawn').length")
        self.press_text("nav a", title)
        self.redrawn(before)

    def tile(self, panel):
        return float(self.js("return document.querySelector(`#${arguments[0]} .tile`).dataset.value", panel))

    def table(self, selector):
        """Cells of the body of a table, as text."""
        return self.js(
            "return [...document.querySelectorAll(arguments[0] + ' tbody tr')]"
            ".map((line) => [...line.cells].map((cell) => cell.textContent))",
            selector,
        )

    def as_table(self, panel):
        """A chart's figures."""
        if not self.js("return document.querySelector(`#${arguments[0]} table`)", panel):
            self.click(f"#{panel} .tools button")
        return self.table(f"#{panel}")

    def parameters(self):
        return urllib.parse.parse_qs(self.js("return location.search").removeprefix("?"))

    def complaints(self):
        """What the console says, but for what a test expects."""
        return [
            one["message"]
            for one in self.browser.get_log("browser")
            if not any(word in one["message"] for word in self.expected)
        ]
