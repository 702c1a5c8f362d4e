"""Says which links of Markdown files and of folders of built pages lead nowhere. Only files are looked
at: what is on the network is somebody else's."""

import html.parser
import pathlib
import re
import sys
import urllib.parse


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.links, self.anchors = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors.add(attributes.get("id"))
        self.links += [attributes[name] for name in ("href", "src") if attributes.get(name)]


def dead(file, links, page_of):
    for link in links:
        url = urllib.parse.urlsplit(link)
        if url.scheme or url.netloc:
            continue
        target = file.parent / urllib.parse.unquote(url.path) if url.path else file
        if not target.exists():
            yield f"{file}: {link} leads nowhere"
        elif url.fragment and target.suffix == ".html":
            if urllib.parse.unquote(url.fragment) not in page_of(target).anchors:
                yield f"{file}: {link} names no place in {target}"


def main(roots):
    pages = {}

    def page_of(file):
        key = file.resolve()
        if key not in pages:
            pages[key] = Page(file.read_text())
        return pages[key]

    faults, looked = [], 0
    for root in map(pathlib.Path, roots):
        files = sorted(root.rglob("*.html")) if root.is_dir() else [root]
        for file in files:
            # Its links count from the root of a server.
            if file.name == "404.html":
                continue
            if file.suffix == ".html":
                links = page_of(file).links
            else:
                links = re.findall(r"\]\(([^)\s]+)\)", file.read_text())
            looked += len(links)
            faults += dead(file, links, page_of)
    print(*faults, f"{looked} links, {len(faults)} dead", sep="\n")
    return bool(faults) or looked == 0


sys.exit(main(sys.argv[1:]))
