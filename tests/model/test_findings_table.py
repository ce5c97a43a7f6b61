"""docs/recordings.md has the table of what every use makes of every finding."""

from __future__ import annotations

import re

from places import ROOT

from modeling_mteeg.model.findings import POLICIES, USES


def test_the_document_has_the_table_of_policies():
    text = (ROOT / "docs/recordings.md").read_text("utf-8")
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line] for line in lines]
    (header,) = [row for row in cells if row[0] == "code"]
    assert tuple(header[2:]) == USES
    rows = {row[0].strip("`"): row for row in cells if re.fullmatch("`[a-z-]+`", row[0])}
    assert list(rows) == list(POLICIES)
    for code, row in rows.items():
        assert row[1] and row[2:] == list(POLICIES[code].values()), code
