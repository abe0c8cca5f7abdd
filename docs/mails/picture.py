"""Draws each .eml file of one directory as a PNG in another: its HTML part, as chromium shows it."""

import base64
import email
import email.policy
import pathlib
import subprocess
import sys
import tempfile

from PIL import Image, ImageChops

# Further looks at a mail: name of the picture, mail, width, dark.
ALSO = [("phone", "worse", 390, False), ("phone-dark", "worse", 390, True)]


def page(path):
    """The HTML part, with its pictures in it."""
    mail = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    html = mail.get_body(("html",)).get_content()
    for part in mail.walk():
        if part.get_content_maintype() == "image":
            data = base64.b64encode(part.get_content()).decode()
            html = html.replace("cid:" + part["Content-ID"].strip("<>"), "data:image/png;base64," + data)
    return html


def draw(html, target, width, dark, scratch):
    source, shot = scratch / "mail.html", scratch / "shot.png"
    source.write_text(html)
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"]
    command += [f"--user-data-dir={scratch}/profile", f"--window-size={width},6000", f"--screenshot={shot}"]
    command += ["--blink-settings=preferredColorScheme=0"] if dark else []
    subprocess.run(command + [source.as_uri()], check=True, capture_output=True, timeout=120)
    image = Image.open(shot).convert("RGB")
    # What is below the mail is of the colour of its background.
    background = Image.new("RGB", image.size, image.getpixel((0, image.height - 1)))
    bottom = ImageChops.difference(image, background).getbbox()[3]
    image = image.crop((0, 0, width, min(bottom + 8, image.height)))
    image.quantize(48, dither=Image.Dither.NONE).save(target, optimize=True)
    print(f"{target}: {image.width} x {image.height}, {target.stat().st_size} bytes")


mails, pictures = map(pathlib.Path, sys.argv[1:])
with tempfile.TemporaryDirectory() as scratch:
    looks = [(path.stem, path.stem, 620, False) for path in sorted(mails.glob("*.eml"))]
    for name, mail, width, dark in looks + ALSO:
        draw(page(mails / f"{mail}.eml"), pictures / f"{name}.png", width, dark, pathlib.Path(scratch))
