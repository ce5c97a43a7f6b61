"""A table as Markdown and as LaTeX."""

from __future__ import annotations

import re

from .paper_tables import BEST, SECOND, Cell, Table, TableRow

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
    "±": r"$\pm$", "–": "--", "µ": r"\textmu{}", "<": r"\textless{}", ">": r"\textgreater{}",
    # "[" and "*" have a meaning behind the end of a line
    "|": r"\textbar{}", '"': "''", "[": "{[}", "*": "{*}",
}  # fmt: skip


def as_markdown(table: Table) -> str:
    """Title, what the tasks are, the table, its notes."""
    heads = ["", "seeds", "trained"]
    for task, titles, _ in table.tasks:
        heads += [f"{task}: {title}" for title in titles]
    lines = [heads, ["---"] * 3 + ["---:"] * (len(heads) - 3)]
    for group, rows in table.blocks:
        lines.append([f"*{group}*"] + [""] * (len(heads) - 1))
        for row in rows:
            cells = [_markdown_cell(cell) for cell in row.cells]
            lines.append([_bare(row.name), row.seeds, row.trained, *cells])
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    tasks = "\n".join(f"- {task}: {text}" for task, _, text in table.tasks)
    notes = "\n".join(f"- ({number}) {_bare(note)}" for number, note in enumerate(table.notes, 1))
    parts = [f"## Table {table.number}. {table.title}", tasks, body, " ".join(table.remarks), notes]
    return "\n\n".join(part for part in parts if part)


def _markdown_cell(cell: Cell) -> str:
    text = {BEST: f"**{cell.text}**", SECOND: f"<u>{cell.text}</u>"}.get(cell.mark, cell.text)
    return text if cell.note is None else f"{text} ({cell.note})"


def _bare(text: str) -> str:
    """Text in which Markdown sees nothing."""
    return re.sub(r"([\\|*_<`\[])", r"\\\1", " ".join(text.split()))


def as_latex(table: Table) -> str:
    """A ``table`` with a ``tabular`` of booktabs; needs ``\\usepackage{booktabs}``."""
    counts = [len(titles) for _, titles, _ in table.tasks]
    width = 3 + sum(counts)
    tops, titles, rules, column = [], [], [], 4
    for (task, names, _), count in zip(table.tasks, counts, strict=True):
        if not count:
            continue
        tops.append(rf"\multicolumn{{{count}}}{{c}}{{{latex(task)}}}")
        rules.append(rf"\cmidrule(lr){{{column}-{column + count - 1}}}")
        titles += map(latex, names)
        column += count
    lines = [
        "% needs \\usepackage{booktabs}",
        r"\begin{table}", r"\centering",
        rf"\caption{{{latex(_caption(table))}}}",
        rf"\label{{tab:comparison-{table.number}}}",
        rf"\begin{{tabular}}{{lll{'c' * (width - 3)}}}", r"\toprule",
        _line(["", "", "", *tops]), " ".join(rules),
        _line(["Methods", "Seeds", "Trained", *titles]),
    ]  # fmt: skip
    for group, rows in table.blocks:
        lines += [r"\midrule", _line([rf"\multicolumn{{{width}}}{{l}}{{\emph{{{latex(group)}}}}}"])]
        lines += [_latex_row(row) for row in rows]
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\smallskip\footnotesize $^{{{number}}}$ {latex(note)}"
              for number, note in enumerate(table.notes, 1)]  # fmt: skip
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _caption(table: Table) -> str:
    tasks = "; ".join(f"{task}: {text}" for task, _, text in table.tasks)
    return f"{table.title}. {tasks}. {' '.join(table.remarks)}"


def _latex_row(row: TableRow) -> str:
    return _line([*map(latex, (row.name, row.seeds, row.trained)), *map(_latex_cell, row.cells)])


def _latex_cell(cell: Cell) -> str:
    text = latex(cell.text)
    if cell.mark == BEST:
        text = rf"\textbf{{{text}}}"
    elif cell.mark == SECOND:
        text = rf"\underline{{{text}}}"
    return text if cell.note is None else rf"{text}$^{{{cell.note}}}$"


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def latex(text: str) -> str:
    """Plain text with everything escaped that LaTeX would read."""
    return "".join(_SPECIAL.get(letter, letter) for letter in " ".join(text.split()))
