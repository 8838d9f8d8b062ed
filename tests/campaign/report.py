"""Pages of `rematc report` in a browser: no word on the console, no serious finding of axe-core, no line wider than the
window, light and dark, narrow and wide, without scripts too; what a pointer and the keyboard say is what the page's data
say; the page of the largest model opens within two seconds. Screenshots are left to be looked at.

    python3 report.py REMATC SOURCE_DIR WORK_DIR [EXAMPLE...]   (needs selenium, axe-selenium-python, Chromium and its driver)
"""
import base64
import json
import pathlib
import shutil
import subprocess
import sys
import time

from axe_selenium_python import Axe
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.chrome.service import Service

WIDTHS, MODES, HEIGHT = (400, 900, 1600), ("light", "dark"), 1000
OPENS_SECONDS, MOST_BYTES = 2.0, 3_000_000
EXAMPLES = {
    "bytes-gpt": [],
    "gpt2-124m": ["--budget", "3GiB"],
    "qwen2-0.5b": ["--budget", "12GiB"],
    "llama3-8b": ["--set", "budget=124GiB", "--set", "B=1", "--set", "host=64GiB"],
    "llama3-8b-qlora": [],
    "llama3-70b": [],
}
bad = []


def wrong(page, what):
    print(f"BAD: {page}: {what}", flush=True)
    bad.append(what)


def browser(scripts):
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    if not scripts:
        options.add_experimental_option("prefs", {"webkit.webprefs.javascript_enabled": False,
                                                  "profile.managed_default_content_settings.javascript": 2})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome")
    return webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))


def show(driver, page, width, mode):
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": mode}]})
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                           dict(width=width, height=HEIGHT, deviceScaleFactor=1, mobile=False))
    began = time.monotonic()
    driver.get(page.resolve().as_uri())
    return time.monotonic() - began


def shoot(driver, path):
    size = driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
    clip = dict(x=0, y=0, width=size["width"], height=size["height"], scale=1)
    shot = driver.execute_cdp_cmd("Page.captureScreenshot", dict(format="png", captureBeyondViewport=True, clip=clip))
    path.write_bytes(base64.b64decode(shot["data"]))


def console(driver, page):
    for entry in driver.get_log("browser"):
        wrong(page, f"the console says: {entry['message']}")


def check_axe(driver, page, width, mode):
    axe = Axe(driver)
    axe.inject()
    for finding in axe.run()["violations"]:
        print(f"{page}, {width}, {mode}: axe: {finding['impact']}: {finding['id']}: {finding['nodes'][0]['html'][:160]}")
        if finding["impact"] in ("serious", "critical"):
            wrong(page, f"axe finds {finding['id']} at {width}, {mode}")


def tip(driver):
    return driver.find_element(By.ID, "tip").text


def check_answers(driver, page):
    """What the tip says is what the data say; arrows go from one to the next; nothing is left of it."""
    data = json.loads(driver.execute_script("return document.getElementById('script').textContent"))
    plan = json.loads(driver.execute_script("return document.getElementById('plan').textContent"))
    memory, arena = driver.find_element(By.ID, "memory-chart"), driver.find_element(By.ID, "arena-chart")
    width = 2 + len(data["categories"])
    fullest = max(range(0, len(data["skyline"]), width), key=lambda i: sum(data["skyline"][i + 2:i + width]))
    if sum(data["skyline"][fullest + 2:fullest + width]) != plan["live_bytes"]:
        wrong(page, "the chart of memory is not as high as the plan's live bytes")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", memory)
    box = memory.rect
    ActionChains(driver).move_to_element_with_offset(
        memory, int((data["skyline"][fullest] + .5) / data["columns"] * box["width"] - box["width"] / 2), 0).perform()
    if f"step {data['skyline'][fullest + 1]}: " not in tip(driver):
        wrong(page, f"at the peak the tip says: {tip(driver)!r}")
    said = set()
    across, down = [Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_LEFT], [Keys.ARROW_DOWN, Keys.ARROW_DOWN]
    cells = driver.find_element(By.CSS_SELECTOR, "#layers .cellwise")
    for chart, keys in (memory, across), (arena, across + down), (cells, across + down):
        driver.execute_script("arguments[0].focus(); arguments[0].scrollIntoView({block: 'start'})", chart)
        for key in keys:
            chart.send_keys(key)
            said.add(tip(driver))
    if len(said) < 7 or "" in said:
        wrong(page, f"the keyboard leads to {len(said)} places: {said}")
    arena.send_keys("+")
    if driver.execute_script("return arguments[0].querySelector('.plane').viewBox.baseVal.width", arena) >= 10000:
        wrong(page, "+ goes no closer")
    arena.send_keys("0")
    driver.execute_script("document.activeElement.blur()")
    if driver.find_element(By.ID, "tip").is_displayed():
        wrong(page, "the tip stays")


def main():
    rematc, source, work = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    work.mkdir(parents=True, exist_ok=True)
    with_scripts, without = browser(True), browser(False)
    for name in sys.argv[4:] or EXAMPLES:
        page = work / f"{name}.html"
        subprocess.run([rematc, "report", source / f"examples/{name}.remat", *EXAMPLES[name], "-o", page], check=True,
                       stdout=subprocess.DEVNULL)
        if page.stat().st_size > MOST_BYTES:
            wrong(page, f"{page.stat().st_size} bytes")
        slowest = 0
        for width in WIDTHS:
            for mode in MODES:
                slowest = max(slowest, show(with_scripts, page, width, mode))
                if with_scripts.execute_script("return document.documentElement.scrollWidth") > width:
                    wrong(page, f"wider than {width}")
                shoot(with_scripts, work / f"{name}-{width}-{mode}.png")
                check_axe(with_scripts, page, width, mode)
                console(with_scripts, page)
        check_answers(with_scripts, page)
        console(with_scripts, page)
        if slowest > OPENS_SECONDS:
            wrong(page, f"opens in {slowest:.2f} s")
        show(without, page, 1600, "light")
        shoot(without, work / f"{name}-without-scripts.png")
        printed = with_scripts.execute_cdp_cmd("Page.printToPDF", dict(printBackground=True, preferCSSPageSize=True))
        (work / f"{name}.pdf").write_bytes(base64.b64decode(printed["data"]))
        print(f"{name}: {page.stat().st_size} bytes, opens in {slowest:.2f} s", flush=True)
    with_scripts.quit()
    without.quit()
    sys.exit(f"{len(bad)} things are wrong" if bad else 0)


main()
