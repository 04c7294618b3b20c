"""The page is for everyone: on phones, by keys, by ear, in light and dark."""

import pytest

from tests.export.demonstration.browser import ANSWERED, LETTER_H, SHOWN, missing

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))


def test_a_phone_shows_the_first_answers_on_the_screen_that_one_draws_on(browser, url):
    """The list itself begins below it."""
    phone = {"viewport": {"width": 390, "height": 664}, "isMobile": True}
    page = browser.open(url, phone)
    page.draw(target="#pad", strokes=LETTER_H)
    page.until(code=ANSWERED)
    assert page.evaluate(code="scrollY") == 0
    pictures = "[...document.querySelectorAll('#glance .thumb')]"
    listed = "[...document.querySelectorAll('#results .thumb')].slice(0, 5)"
    where = ".map((e) => e.style.backgroundPosition)"
    assert page.evaluate(code=f"{pictures}{where}") == (
        page.evaluate(code=f"{listed}{where}")
    )
    lowest = page.evaluate(
        code=f"Math.max(...{pictures}.map((e) => e.getBoundingClientRect().bottom))"
    )
    assert 0 < lowest <= 664
    page.click(target="#clear")
    assert page.evaluate(code=f"{pictures}.length") == 0
    page.close()


def test_all_of_it_can_be_done_with_keys(page):
    reached = []
    for _ in range(7):
        page.tab()
        reached.append(page.evaluate(code="document.activeElement.id"))
    assert reached[:5] == ["pad", "clear", "undo", "choose", "camera"]
    page.press(target="#pad", keys=[" ", *["ArrowDown"] * 6, " ", "ArrowLeft"])
    page.until(code=ANSWERED)
    assert len(page.evaluate(code=SHOWN)) == 10
    page.press(target="#pad", keys=["Backspace"])
    assert page.evaluate(code=SHOWN) == []


def test_a_screen_reader_hears_names_and_answers(page):
    page.draw(target="#pad", strokes=LETTER_H)
    page.until(code="document.querySelector('#said').textContent.includes('Nearest:')")
    nameless = page.evaluate(
        code="[...document.querySelectorAll('button, input, canvas, [role=img]')]"
        ".filter((e) => !(e.ariaHidden || e.ariaLabel || e.textContent.trim()"
        " || e.labels?.length)).map((e) => e.outerHTML)"
    )
    assert nameless == []
    assert page.evaluate(code="document.documentElement.lang") == "en"


# The ratio of luminances of each text to the first opaque ground behind it.
CONTRASTS = """(() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = (colour) => {
    const [r, g, b] = numbers(colour).map((v) => v / 255)
      .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (; element; element = element.parentElement) {
      const colour = getComputedStyle(element).backgroundColor;
      if (numbers(colour)[3] !== 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  return [...document.querySelectorAll("body *")]
    .filter((e) => e.checkVisibility() && !e.closest(".weak, :disabled"))
    .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
    .map((e) => {
      const pair = [luminance(getComputedStyle(e).color), luminance(ground(e))];
      const [low, high] = pair.sort((a, b) => a - b);
      return [(high + 0.05) / (low + 0.05), e.textContent.trim().slice(0, 30)];
    });
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 360, 1280])
def test_text_is_readable_on_phones_and_desktops_in_light_and_dark(
    browser, url, scheme, width
):
    options = {"colorScheme": scheme, "viewport": {"width": width, "height": 740}}
    page = browser.open(url, options)
    page.draw(target="#pad", strokes=LETTER_H)
    page.until(code=ANSWERED)
    page.click(target="#compare summary")
    page.click(target="#sizes summary")
    assert page.evaluate(code="document.documentElement.scrollWidth") <= width
    contrasts = page.evaluate(code=CONTRASTS)
    assert len(contrasts) > 20
    # 4.5 is what the Web Content Accessibility Guidelines ask for (AA).
    assert [entry for entry in contrasts if entry[0] < 4.5] == []
    page.close()
