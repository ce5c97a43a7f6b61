"""The site: ``sphinx-build -W --keep-going docs site``.

It makes the pages of this folder, runs the notebooks of ``tutorials`` and writes a page for every
public name of the package from its docstring. Whatever is wrong is a warning, and with ``-W`` a
warning is an error: a link to nothing, a page in no list, a name that does not exist, a notebook
that does not run.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from modeling_mteeg import __version__

sys.path.insert(0, str(Path(__file__).parent / "_extension"))
# For the notebooks' kernels: no bars, and nothing about widgets that would draw them.
os.environ |= {"TQDM_DISABLE": "1", "PYTHONWARNINGS": "ignore:IProgress not found"}

project = "modeling_mteeg"
author = "the authors of modeling_mteeg"
release = version = __version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_copybutton",
    "reference_pages",
]
templates_path = ["_templates"]
html_theme = "furo"
html_title = f"modeling_mteeg {release}"
html_copy_source = False
html_show_copyright = False

# Markdown as GitHub reads it: the same links and headings work in both places.
myst_heading_anchors = 4

# Notebooks lie here without outputs: what the site shows, the code of this commit has computed.
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 600  # seconds a cell
nb_merge_streams = True

# Every name that a docstring refers to must be found. Other packages are looked up nowhere, since
# a build needs no network: theirs are the bases of our classes, and one method that is referred to.
nitpicky = True
nitpick_ignore = [("py:meth", "mne.io.Raw.interpolate_bads")]
nitpick_ignore_regex = [("py:class", r"(abc|evaluate|sklearn|torch|transformers)\..*")]

autosummary_ignore_module_all = False
autosummary_imported_members = True
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 88
# Types of numpydoc are words ("array (n, channels, samples)"), not names to look up.
numpydoc_xref_param_type = False
numpydoc_show_class_members = False
