#!/bin/sh
# Makes plot.ttf anew: of DejaVu Sans (Debian's fonts-dejavu-core), the characters that plots write. Needs pyftsubset of
# fonttools (PyPI).
set -eu
cd "$(dirname "$0")"
pyftsubset /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf --output-file=plot.ttf \
    --unicodes="U+0020-007E,U+00B0,U+2026" --layout-features='' --no-hinting --name-IDs='0,1,2,5,13,14' \
    --drop-tables+=MATH,GPOS,GSUB,GDEF,gasp,FFTM
