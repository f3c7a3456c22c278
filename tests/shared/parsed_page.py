"""A page as a browser reads it: what it shows, in which order, and what it would load."""

from html.parser import HTMLParser

_LOADING = ("src", "srcset", "href", "xlink:href", "action", "formaction", "poster", "data", "background")
_VOID = {"meta", "link", "br", "img", "input", "hr"}


class ParsedPage(HTMLParser):
    """Parses at once.

    Attributes:
        tags: all names of elements.
        loads: values of attributes that load or lead somewhere.
        handlers: names of attributes that are code.
        sections: ids in order.
        rows: texts of the cells of each table row, by section.
        text: everything that is shown or said, by section; "" before the first.
        styles: contents of style elements.
        unclosed: elements that are open at the end.
    """

    def __init__(self, html):
        super().__init__()
        self.tags, self.loads, self.handlers = set(), [], []
        self.sections, self.rows, self.text, self.styles = [], {}, {"": ""}, ""
        self.unclosed, self._section, self._cell = [], "", None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag not in _VOID:
            self.unclosed.append(tag)
        self.loads += [value for name, value in attrs if name in _LOADING]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        if tag == "section":
            self._section = dict(attrs)["id"]
            self.sections.append(self._section)
            self.text[self._section], self.rows[self._section] = "", []
        elif tag == "tr":
            self.rows.setdefault(self._section, []).append([])
        elif tag in ("td", "th"):
            self._cell = ""
        self.text[self._section] += " ".join(value for name, value in attrs if name == "aria-label")

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.unclosed = self.unclosed[:-1] if tag not in _VOID else self.unclosed

    def handle_endtag(self, tag):
        assert self.unclosed.pop() == tag
        if tag in ("td", "th"):
            self.rows[self._section][-1].append(" ".join(self._cell.split()))
            self._cell = None
        elif tag == "section":
            self._section = ""

    def handle_data(self, data):
        if self.unclosed and self.unclosed[-1] == "style":
            self.styles += data
            return
        self.text[self._section] += data
        if self._cell is not None:
            self._cell += data + " "
