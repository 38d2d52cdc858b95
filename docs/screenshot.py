"""
The picture at the top of the README: the two rankings on the page of `pamela demo`, which shows generated scenes only.

    pamela demo && python docs/screenshot.py [--page demo-output/index.html] [--browser /usr/bin/chromium]
"""

import argparse
from pathlib import Path

from playwright.sync_api import sync_playwright


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, default=Path("demo-output/index.html"))
    parser.add_argument("--browser", default="/usr/bin/chromium")
    options = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.browser, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1000, "height": 900})
        page.goto(options.page.resolve().as_uri())
        # Room around the two columns, and of each ranking the best alone: the picture is to be small.
        page.add_style_tag(content="#rankings { padding: 14px; } #rankings h4, #rankings h4 + ol { display: none; }")
        page.locator("#rankings").screenshot(path=Path(__file__).with_name("demo.jpg"), type="jpeg", quality=80)
        browser.close()


if __name__ == "__main__":
    main()
