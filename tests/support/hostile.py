"""Names that would harm a report that trusts them."""

HOSTILE = (
    "=HYPERLINK('http://x')",
    "+1+2",
    "-1+2",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "a\n=1",
    "a|b",
    "gc:x=\x1b[31mred\x1b]0;title\x07",
    "[bold red]markup[/]",
    "<script>alert(1)</script>",
    "[link](javascript:x)",
    "`code` *bold* ~~gone~~ &amp; \\",
    'quote"comma,',
    "\u202eright to left",
    "\x00",
)
