"""The page in a real browser: it draws, it asks nobody, it complains of nothing."""

from html import escape

import pytest
from browsing import needs_browser, opened
from pictures import HOSTILE, RATIOS, costed, drawn, growing, run_of
from runs import comparison

from gcbench.report.charts.saving import picture
from gcbench.spec.cases import Block

pytestmark = needs_browser

# moves the pointer over every mark, and keeps what each tooltip holds
POINTER = """<script type="module">
setTimeout(() => {
  for (const mark of document.querySelectorAll(".mark-symbol path")) {
    mark.dispatchEvent(new PointerEvent("pointermove", {bubbles: true, clientX: 5, clientY: 5}));
    const tip = document.getElementById("vg-tooltip-element");
    if (tip) document.body.append(tip.cloneNode(true));
  }
}, 1000);
</script>"""


def page_of(run, chart, folder, more=""):
    path = folder / "a.html"
    page, body, end = picture(drawn(run, chart), ".html").decode().rpartition("</body>")
    path.write_text(page + more + body + end)
    return opened(path, folder / "profile")


@pytest.mark.parametrize("chart", ["latency", "relative", "roofline", "ratio"])
def test_the_page_draws_without_a_network_and_without_a_word_of_complaint(chart, tmp_path):
    run = costed(RATIOS if chart == "ratio" else growing())
    seen = page_of(run, chart, tmp_path)
    assert seen.console == []
    assert 'class="marks"' in seen.page
    assert seen.page.count("<path ") > 10
    assert f">{'gc · 14x14' if chart == 'ratio' else 'gc r16'}</text>" in seen.page


def test_names_that_hold_anything_are_text_and_no_more(tmp_path):
    blocks = [Block(name, name, None, False) for name in HOSTILE]
    run = run_of(*(comparison(*blocks, size=(s, s), factor=s) for s in (7, 14)))
    seen = page_of(run, "latency", tmp_path, POINTER)
    assert seen.console == []
    # the library, the chart, and the pointer; no name became a script
    assert seen.page.count("<script") == 3
    for name in ("datum['x']", "a.b[0].c", "${1+1}", "</svg>&amp;<b>"):
        assert f">{escape(name, quote=False)}</text>" in seen.page
    tips = seen.page.split('id="vg-tooltip-element"')[1:]
    assert len(tips) > len(HOSTILE)
    assert any("&lt;script&gt;alert(1)&lt;/script&gt;" in tip for tip in tips)
    assert not any("<script" in tip or "<b>" in tip for tip in tips)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("nothing_of_this_name();", "nothing_of_this_name is not defined"),
        ("fetch('https://example.org/');", "example.org"),
        ("console.warn('a warning');", "a warning"),
    ],
)
def test_a_page_that_complains_or_asks_is_seen_to(script, words, tmp_path):
    more = f"<script type='module'>{script}</script>"
    seen = page_of(growing(), "latency", tmp_path, more)
    assert any(words in line for line in seen.console)
