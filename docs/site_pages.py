"""What the site shows besides docs/: the README and its kin, the notebooks, and a reference.

Links in all of these pages are written as they work in the repository, and are turned into those
of the site here. The pages of the reference are made from the table in docs/api.md.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
# Path in the repository -> path in the site.
ELSEWHERE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "CITATION.cff": "CITATION.cff",
    "LICENSE": "LICENSE.txt",
    **{
        path.relative_to(ROOT).as_posix(): path.relative_to(ROOT).as_posix()
        for folder in ("examples", "launch", "configs")
        for path in sorted((ROOT / folder).iterdir())
        if path.is_file()
    },
    "launch/README.md": "launch/index.md",
}
IN_REPOSITORY = {site: here for here, site in ELSEWHERE.items()}
ROW = re.compile(r"^\| `(jaxreid[\w.]*)` \| ([^|\n]*) \|$", re.MULTILINE)
LINK = re.compile(r"(\]\()([^)#\s]+)(#[^)\s]*)?\)")


def reference() -> dict[str, str]:
    """Path in the site -> page, one per module of the table."""
    table = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    pages = {}
    for module, cell in ROW.findall(table):
        members = ", ".join(re.findall(r"`([^`]+)`", cell))
        if module == "jaxreid":  # a facade: its names have their pages elsewhere
            continue
        pages[f"reference/{module.removeprefix('jaxreid.')}.md"] = (
            f"# {module}\n\n::: {module}\n    options:\n      members: [{members}]\n"
        )
    return pages


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Adds the pages of the reference to the navigation."""
    (section,) = (entry["Reference"] for entry in config.nav if "Reference" in entry)
    section += [{path[len("reference/") : -len(".md")]: path} for path in reference()]
    return config


@event_priority(100)  # before the plugin that turns notebooks into pages
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds what lies outside of docs/."""
    for here, site in ELSEWHERE.items():
        if site.endswith(".ipynb"):
            files.append(File(site, str(ROOT), config.site_dir, config.use_directory_urls))
        else:
            text = (ROOT / here).read_text(encoding="utf-8")
            files.append(File.generated(config, site, content=text))
    for site, text in reference().items():
        files.append(File.generated(config, site, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns links of the repository into links of the site."""
    site = page.file.src_uri
    folder = posixpath.dirname(IN_REPOSITORY.get(site, f"docs/{site}"))

    def turned(link: re.Match[str]) -> str:
        target = link[2]
        if ":" in target:
            return link[0]
        here = posixpath.normpath(posixpath.join(folder, target))
        there = ELSEWHERE.get(here, here.removeprefix("docs/"))
        if here.rstrip("/") == "launch":
            there = "launch/index.md"
        relative = posixpath.relpath(there, posixpath.dirname(site) or ".")
        return f"{link[1]}{relative}{link[3] or ''})"

    return LINK.sub(turned, markdown)
