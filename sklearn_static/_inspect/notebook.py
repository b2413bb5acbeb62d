"""Display of a document with tokens colored by contribution, as HTML."""

from html import escape

from sklearn_static._inspect.spans import Segment

# The largest opacity: visible, yet weak enough that text on it has a contrast ratio of 4.5.
_STRONGEST = 0.6
# Colors of positive and of negative contributions, in sRGB from 0 to 255.
MORE, LESS = (66, 133, 244), (242, 120, 40)
_LIGHT = (
    "--text:#1f2328;--muted:#59636e;--card:#ffffff;--line:#d1d9e0;"
    f"--more:{' '.join(map(str, MORE))};--less:{' '.join(map(str, LESS))}"
)
_DARK = (
    "--text:#f0f3f6;--muted:#a2abb5;--card:#16191d;--line:#3d444d;"
    "--more:66 133 244;--less:240 124 48"
)
_STYLE = f"""
.sklearn-static-display{{{_LIGHT}}}
@media (prefers-color-scheme:dark){{.sklearn-static-display{{{_DARK}}}}}
[data-jp-theme-light=true] .sklearn-static-display,[data-theme=light] .sklearn-static-display,
.vscode-light .sklearn-static-display{{{_LIGHT}}}
[data-jp-theme-light=false] .sklearn-static-display,[data-theme=dark] .sklearn-static-display,
.vscode-dark .sklearn-static-display{{{_DARK}}}
.sklearn-static-display{{max-width:46rem;padding:.8rem 1rem;border:1px solid var(--line);
border-radius:.5rem;background:var(--card);color:var(--text);
font:15px/1.9 system-ui,-apple-system,"Segoe UI",sans-serif}}
.sklearn-static-display .head,.sklearn-static-display .legend{{display:flex;flex-wrap:wrap;
align-items:baseline;gap:.1rem .8rem;font-size:13px;line-height:1.5;color:var(--muted)}}
.sklearn-static-display .head b{{color:var(--text);font-size:15px}}
.sklearn-static-display .document{{margin:.5rem 0;white-space:pre-wrap;overflow-wrap:anywhere}}
.sklearn-static-display .token{{padding:.12em 0;border-radius:.2em}}
.sklearn-static-display .token:hover{{outline:1.5px solid var(--muted)}}
.sklearn-static-display .more{{background:rgb(var(--more)/var(--part))}}
.sklearn-static-display .less{{background:rgb(var(--less)/var(--part))}}
.sklearn-static-display .bar{{align-self:center;width:8rem;height:.6rem;border-radius:.2em;
background:linear-gradient(90deg,rgb(var(--less)/{_STRONGEST}),rgb(var(--less)/0) 50%,
rgb(var(--more)/0) 50%,rgb(var(--more)/{_STRONGEST}))}}
.sklearn-static-display .numbers{{font-variant-numeric:tabular-nums}}
""".replace("\n", "")


def document_html(
    segments: list[Segment], *, heading: str, decision: str, sum_of: str, method: str
) -> str:
    """Format a document with tokens colored by contribution as HTML.

    Parameters
    ----------
    segments : list of Segment
        The document.
    heading : str
        The explained decision.
    decision : str
        The value of the decision.
    sum_of : str
        The parts of this value.
    method : str
        A description of the method, for the legend.

    Returns
    -------
    html : str
        A single element including its style. All text is escaped.
    """
    largest = largest_contribution(segments)
    heading, decision, sum_of, method = map(escape, (heading, decision, sum_of, method))
    body = "".join(_span(segment, largest) for segment in segments)
    return (
        f'<div class="sklearn-static-display"><style>{_STYLE}</style>'
        f'<div class="head"><span>{heading}</span><b class="numbers">{decision}</b>'
        f'<span class="numbers">{sum_of}</span></div>'
        f'<div class="document">{body}</div>'
        f'<div class="legend"><span class="numbers">{number(-largest)}</span>'
        f'<span class="bar"></span><span class="numbers">{number(largest)}</span>'
        f"<span>{method}</span></div></div>"
    )


def largest_contribution(segments: list[Segment]) -> float:
    """Return the contribution with the strongest color.

    Parameters
    ----------
    segments : list of Segment
        The document.

    Returns
    -------
    largest : float
        The largest magnitude; 0 if there are no contributions.
    """
    return max((abs(segment.contribution or 0) for segment in segments), default=0.0)


def strength(contribution: float, largest: float) -> float:
    """Compute the opacity of a contribution's color.

    Parameters
    ----------
    contribution : float
        The contribution.
    largest : float
        The largest magnitude of a contribution; may be 0.

    Returns
    -------
    strength : float
        From 0 to the largest opacity at which text is readable.
    """
    return _STRONGEST * abs(contribution) / (largest or 1)


def number(value: float) -> str:
    """Format a number with its sign and three significant digits.

    Parameters
    ----------
    value : float
        The number.

    Returns
    -------
    text : str
        The number, with a minus sign instead of a hyphen.
    """
    return f"{value:+.3g}".replace("-", "\N{MINUS SIGN}") if value else "0"


def _span(segment: Segment, largest: float) -> str:
    text = escape(segment.text)
    if segment.contribution is None:
        return text
    title = escape(f"{segment.text}: {number(segment.contribution)}")
    part = strength(segment.contribution, largest)
    side = "more" if segment.contribution > 0 else "less"
    return f'<span class="token {side}" style="--part:{part:.3f}" title="{title}">{text}</span>'
