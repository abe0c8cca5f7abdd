#!/bin/sh
# Makes the pictures of docs/mails.md anew: one of each kind of mail, as the golden tests send it and a browser shows it.
# Needs (Debian) chromium, python3 and python3-pil.
set -eu
cd "$(dirname "$0")/../.."
mails=$(mktemp -d)
trap 'rm -rf "$mails"' EXIT
FLEET_MAILS=$mails cargo test --release --locked -p alerter --test golden --test report
/usr/bin/python3 docs/mails/picture.py "$mails" docs/mails
