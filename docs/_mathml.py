"""Formulas as MathML, which browsers draw by themselves: no script, no network."""

from docutils import nodes
from latex2mathml.converter import convert


def to_mathml(source, display):
    """Return a formula as MathML."""
    return convert(source.strip(), display="block" if display else "inline")


def visit_inline(translator, node):
    """Write a formula within a line."""
    translator.body.append(to_mathml(node.astext(), display=False))
    raise nodes.SkipNode


def visit_block(translator, node):
    """Write a formula on a line of its own, which scrolls where it is too wide."""
    translator.body.append(
        f'<div class="formula">{to_mathml(node.astext(), display=True)}</div>\n'
    )
    raise nodes.SkipNode


def setup(app):
    """Register it as the way in which HTML shows formulas."""
    app.add_html_math_renderer(
        "mathml",
        inline_renderers=(visit_inline, None),
        block_renderers=(visit_block, None),
    )
    app.config.html_math_renderer = "mathml"
    return {"parallel_read_safe": True}
