"""How the site is made: the pages as they are, read from the root of the checkout.

Links are relative, as they are on GitHub, and lead out of docs/ too: so the site has the same
paths as the checkout. `make docs-site` builds it, and any broken link is an error.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

project = "Tonnage"
extensions = ["myst_parser", "navigation", "repository"]

root_doc = "docs/index"
include_patterns = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "benchmarks/*.md",
    "docs/**.md",
    "examples/**.md",
]
exclude_patterns = ["**/.*", ".*", "build", "dist", "src", "tests"]

# What a page says stays as it was written: "--flag" is no dash.
smartquotes = False
# Anchors of headings, as GitHub makes them.
myst_heading_anchors = 6

html_theme = "furo"
html_title = "Tonnage"
html_static_path = ["static"]
html_css_files = ["tonnage.css"]
# Its index.html leads to docs/index.html.
html_extra_path = ["root"]
html_copy_source = False
html_show_copyright = False
html_use_index = False
html_theme_options: dict[str, list[str]] = {"top_of_page_buttons": []}
