"""Pieces of a page: text that is no markup, sections, tables."""

import html


def html_section(title, note, content):
    """A section with its heading.

    Args:
        title, note: Strings, plain text.
        content: String, HTML.
    """
    note = f"<p>{as_text(note)}</p>"
    return f"<section><h2>{as_text(title)}</h2>\n{note}\n{content}\n</section>"


def html_table(names, rows):
    """A table that scrolls by itself where the page is narrow.

    Args:
        names: Strings, the heads of its columns.
        rows: Lists of strings, plain text; the first of each is the head of its line.
    """
    head = "".join(f'<th scope="col">{as_text(name)}</th>' for name in names)
    lines = "".join(
        f'<tr><th scope="row">{as_text(name)}</th>'
        + "".join(f"<td>{as_text(cell)}</td>" for cell in cells)
        + "</tr>\n"
        for name, *cells in rows
    )
    return (
        '<div class="wide" tabindex="0"><table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{lines}</tbody>\n</table></div>"
    )


def or_dash(value, form):
    """`form(value)`, or a dash for `None`: what was not measured."""
    return "–" if value is None else form(value)


def as_text(text):
    """Plain text as HTML that shows it."""
    return html.escape(str(text))
