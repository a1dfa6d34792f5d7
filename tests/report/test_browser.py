"""The page in a real browser: no complaint, no request, every image there, nothing sticks out."""

import chromium
import pytest
from run_folders import write_log, write_run

from jaxreid.report import write_report

pytestmark = pytest.mark.skipif(not chromium.PROGRAM, reason="no chromium on this machine")

BROKEN_IMAGES = "[...document.images].filter(i => !i.complete || !i.naturalWidth).length"
# Elements that are wider than the window and stand in no container that scrolls.
STICKING_OUT = """[...document.querySelectorAll('body *')].filter(e => {
  const box = e.getBoundingClientRect();
  return box.width && box.right > innerWidth + 1 && !e.closest('.scroll, .ranks, pre, .symbols');
}).map(e => e.id || e.tagName + '.' + e.className).slice(0, 5)"""
SHOWN = "[...document.querySelectorAll('.%s')].every(e => getComputedStyle(e).display %s 'none')"


@pytest.fixture(scope="module")
def profiles(tmp_path_factory):
    return tmp_path_factory.mktemp("profiles")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder, names = tmp_path_factory.mktemp("runs"), ("noise", "fna")
    plain = write_run(folder / "plain", title="Quite a long name, <b>&" * 3, attacks=names)
    goat = write_run(folder / "goat", title="GOAT", weakness=0.2, attacks=names, seeds=(0, 1))
    training = write_log(folder / "work")
    return write_report([plain.path, goat.path], training=[("GOAT", training)])


@pytest.mark.parametrize(
    ("width", "mobile", "dark"), [(1280, False, False), (390, True, False), (390, True, True)]
)
def test_the_page_loads_alone_and_fits(page, profiles, width, mobile, dark):
    profile = profiles / f"{width}-{dark}"
    with chromium.tab(profile, width=width, height=844, mobile=mobile, dark=dark) as tab:
        tab.open(page)
        asked = [event["request"]["url"] for event in tab.said("Network.requestWillBeSent")]
        assert [url for url in asked if not url.startswith("data:")] == [page.resolve().as_uri()]
        for complaint in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            assert tab.said(complaint) == []
        assert tab.evaluate("document.images.length") > 20
        assert tab.evaluate(BROKEN_IMAGES) == 0
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.evaluate(STICKING_OUT) == []
        assert tab.evaluate("document.compatMode") == "CSS1Compat"


def test_scales_switch_without_a_script(page, profiles):
    with chromium.tab(profiles / "scales") as tab:
        tab.open(page)
        assert tab.evaluate(SHOWN % ("linear", "!="))
        assert tab.evaluate(SHOWN % ("log", "=="))
        tab.evaluate("document.querySelectorAll('.pick-log').forEach(pick => pick.click())")
        assert tab.evaluate(SHOWN % ("linear", "=="))
        assert tab.evaluate(SHOWN % ("log", "!="))


def test_the_page_can_be_printed(page, profiles, tmp_path):
    with chromium.tab(profiles / "print") as tab:
        tab.open(page)
        tab.pdf(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
