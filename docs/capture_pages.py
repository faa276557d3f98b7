"""Creates the pictures of the live page from a running demo with a real browser.

    python docs/capture_pages.py --url http://127.0.0.1:8050/

Needs Chromium and its driver (CONTRIBUTING.md). Prints the time from the request of each page to its figures.
"""

from __future__ import annotations

import shutil
import sys
import time
import urllib.parse
from pathlib import Path
from typing import Annotated

import typer
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

IMAGES = Path(__file__).parent / "img"
WIDTH = 1280
PAGES = {
    "now": ({"view": "now"}, 960),
    "revenue": ({"view": "revenue", "compare": "previous"}, 980),
    "funnel": ({"view": "funnel"}, 960),
    "churn": ({"view": "churn"}, 1000),
    "products": ({"view": "products"}, 900),
    "retention": ({"view": "retention"}, 1000),
    "worklist": ({"view": "worklist"}, 900),
    "segments": ({"view": "segments", "by": "segment"}, 1100),
    "customer": ({"view": "customer"}, 1000),
}
"""Picture -> parameters of the address, and height in pixels."""
DRAWN = (
    "return performance.getEntriesByName('drawn')[0]?.startTime && document.querySelector('#problem').hidden"
    " && ![...document.querySelectorAll('main .state')].some((one) => one.textContent.startsWith('Loading'))"
)
FIRST_CUSTOMER = "return document.querySelector('main tbody a').getAttribute('href')"
TIMEOUT_S = 30


def capture(
    url: Annotated[str, typer.Option(help="Address of the page, as printed by the demo.")] = "http://127.0.0.1:8050/",
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = IMAGES,
    only: Annotated[list[str] | None, typer.Option(help="Name of the only picture; repeatable.")] = None,
    repeat: Annotated[int, typer.Option(help="Number of requests per page.")] = 1,
) -> None:
    """Write page-NAME.png of every page."""
    browser = opened()
    try:
        for name, (parameters, height) in PAGES.items():
            if only and name not in only:
                continue
            browser.set_window_size(WIDTH, height)
            address = url + "?" + urllib.parse.urlencode(parameters)
            if name == "customer":
                # the customer at risk with the highest value
                seen(browser, url + "?view=customers&churn_risk=critical&churn_risk=high")
                address = url + browser.execute_script(FIRST_CUSTOMER)
            times = sorted(seen(browser, address) for _ in range(repeat))
            if name == "segments":
                choose_groups(browser)
            browser.save_screenshot(str(out / f"page-{name}.png"))
            print(f"{name:10} {times[len(times) // 2]:6.0f} ms")
    finally:
        browser.quit()


def opened() -> webdriver.Chrome:
    """Return a browser without a window."""
    binary, driver = shutil.which("chromium") or shutil.which("chromium-browser"), shutil.which("chromedriver")
    if binary is None or driver is None:
        sys.exit("no browser: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "hide-scrollbars"):
        options.add_argument(f"--{argument}")
    return webdriver.Chrome(options=options, service=Service(driver))


def seen(browser: webdriver.Chrome, address: str) -> float:
    """Open a page and return the milliseconds until its figures are drawn."""
    browser.get(address)
    wait(browser, DRAWN)
    return float(browser.execute_script("return performance.getEntriesByName('drawn')[0].startTime"))


def choose_groups(browser: webdriver.Chrome) -> None:
    """Select two groups for the comparison, the second and the third."""
    for n in (1, 2):
        browser.execute_script("document.querySelectorAll('main .wide tbody input')[arguments[0]].click()", n)
        wait(browser, f"return document.querySelectorAll('main .wide input:checked').length === {n}")
    wait(browser, "return document.querySelector('#compared')")


def wait(browser: webdriver.Chrome, script: str) -> None:
    end = time.monotonic() + TIMEOUT_S
    while not browser.execute_script(script):
        if time.monotonic() > end:
            sys.exit(f"{browser.current_url} is not ready within {TIMEOUT_S} s")
        time.sleep(0.1)


if __name__ == "__main__":
    typer.run(capture)
