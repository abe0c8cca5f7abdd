"""Reads a mail from stdin as Python's email package understands it, fails where a mail program could stumble over it, and
prints what it is made of."""

import email
import email.policy
import html.parser
import re
import sys

LARGEST = 500_000

raw = sys.stdin.buffer.read()
assert len(raw) < LARGEST, f"{len(raw)} bytes"
assert not re.search(rb"[^\r]\n|\r[^\n]", raw), "a line does not end by CRLF"
longest = max(raw.split(b"\r\n"), key=len)
assert len(longest) <= 998, f"RFC 5322 2.1.1: a line of {len(longest)}"
assert all(byte < 128 for byte in raw), "8 bit, which not every server takes"

mail = email.message_from_bytes(raw, policy=email.policy.default)
for part in mail.walk():
    assert not part.defects, part.defects
    for name, value in part.items():
        assert not value.defects, (name, value.defects)

for name in ("Message-ID", "Date", "From", "To", "Subject", "List-Id", "MIME-Version"):
    assert len(mail.get_all(name, [])) == 1, name
assert mail["Auto-Submitted"] == "auto-generated"
assert mail["X-Auto-Response-Suppress"] == "All"
assert mail["In-Reply-To"] == mail["References"]
assert not re.search("[\x00-\x1f\x7f\u202a-\u202e\u2066-\u2069]", mail["Subject"]), "the subject has controls"

text = mail.get_body(("plain",)).get_content()
rich = mail.get_body(("html",))
for content in filter(None, (text, rich and rich.get_content())):
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", content.replace("\r\n", "\n")), "the body has controls"

if rich:
    wanted = set(re.findall('src="cid:([^"]+)"', rich.get_content()))
    pictures = [part for part in mail.walk() if part.get_content_maintype() == "image"]
    assert wanted == {part["Content-ID"].strip("<>") for part in pictures}, wanted
    assert all(part.get_content().startswith(b"\x89PNG\r\n\x1a\n") for part in pictures)
    assert len(re.findall(r'<img [^>]*alt="[^"]+"', rich.get_content())) == len(pictures), "a picture has no alt"
    assert not re.search("<script|javascript:|https?://[^\"<]+\\.(png|js|css)", rich.get_content())


class Balance(html.parser.HTMLParser):
    """Fails where an element ends that does not stand open."""

    VOID = ("meta", "img", "br")

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice"
        self.open += [] if tag in self.VOID else [tag]

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> ends nothing"


if rich:
    balance = Balance()
    balance.feed(rich.get_content())
    assert balance.open == [], balance.open


def outline(part):
    kind = part.get_content_type()
    return kind + (f"({', '.join(map(outline, part.iter_parts()))})" if part.is_multipart() else "")


print(outline(mail))
