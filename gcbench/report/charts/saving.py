"""A Vega-Lite specification as a file: svg, png, pdf, or a page that needs no network."""

import html
import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gcbench.errors import UsageError
from gcbench.registry import suggestion

Spec = dict[str, Any]

# pixels of a png for one of the picture
PNG_SCALE = 2.0
# what the page may do: run what stands in it, and nothing else; Vega compiles its expressions
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:"
)
_SNIPPET = "window.vegaEmbed = vegaEmbed;"
_OPTIONS = {
    "mode": "vega-lite",
    "renderer": "svg",
    # nothing that would leave the page
    "actions": {"export": True, "source": False, "compiled": False, "editor": False},
}


def picture(spec: Spec, suffix: str) -> bytes:
    """Draw a specification in the format of a suffix that `require_suffix` gave.

    Raises UsageError where altair or vl-convert is missing.
    """
    require_installed()
    return PICTURES[suffix](spec)


def require_installed() -> None:
    """Make sure that what draws is there. Raises UsageError, which says how to install it."""
    for name in ("altair", "vl_convert"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise UsageError(
                f"a picture needs {name}, which is not installed: "
                "pip install altair vl-convert-python"
            ) from error


def require_suffix(option: str, path: Path) -> str:
    """The suffix that says how a file is drawn; of `-`, which is stdout, svg.

    Raises UsageError, which names the option.
    """
    suffix = ".svg" if str(path) == "-" else path.suffix.lower()
    if suffix not in PICTURES:
        came = f"{suffix!r} is not known" if suffix else "there is none"
        raise UsageError(
            f"{option} {path}: the suffix says what is drawn, and {came}: "
            f"{suggestion(suffix, PICTURES)}"
        )
    return suffix


def version(spec: Spec) -> str:
    """The version of Vega-Lite that a specification was written for, as vl-convert takes it."""
    major, minor = spec["$schema"].rpartition("/v")[2].split(".")[:2]
    return f"{major}.{minor}"


def _svg(spec: Spec) -> bytes:
    import vl_convert

    return vl_convert.vegalite_to_svg(spec, vl_version=version(spec)).encode()


def _png(spec: Spec) -> bytes:
    import vl_convert

    return bytes(vl_convert.vegalite_to_png(spec, vl_version=version(spec), scale=PNG_SCALE))


def _pdf(spec: Spec) -> bytes:
    import vl_convert

    return bytes(vl_convert.vegalite_to_pdf(spec, vl_version=version(spec)))


def _page(spec: Spec) -> bytes:
    """A page that holds Vega itself. Words of the run cannot end its script, nor begin one."""
    import vl_convert

    bundle = vl_convert.javascript_bundle(_SNIPPET, vl_version=version(spec))
    # < would open a tag or a comment whatever the quotes around it say
    data = json.dumps(spec).replace("<", "\\u003c")
    title = html.escape(str(spec.get("description", "gcbench")))
    return _PAGE.format(
        policy=_POLICY, title=title, bundle=bundle, data=data, options=json.dumps(_OPTIONS)
    ).encode()


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>body {{ margin: 1em; font-family: sans-serif; }}</style>
</head>
<body>
<div id="chart"></div>
<script type="module">{bundle}</script>
<script type="module">
vegaEmbed("#chart", {data}, {options}).catch(console.error);
</script>
</body>
</html>
"""

PICTURES: dict[str, Callable[[Spec], bytes]] = {
    ".svg": _svg,
    ".png": _png,
    ".pdf": _pdf,
    ".html": _page,
}
