#!/usr/bin/env bash
# Brings Debian's Chromium for the tests of the local stack's page, and fonts for its Chinese.
#
#   test/browser/install.sh      (root, for apt; a second run ends at once)
#
# POSTHASTE_CHROMIUM names another browser to use; then nothing is installed.
set -euo pipefail
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

[[ -z ${POSTHASTE_CHROMIUM:-} ]] || exit 0
wanted=()
command -v chromium >/dev/null || wanted+=(chromium)
dpkg-query -W fonts-noto-cjk >/dev/null 2>&1 || wanted+=(fonts-noto-cjk)
[[ ${#wanted[@]} -gt 0 ]] || exit 0

install() { apt-get install -y --no-install-recommends "${wanted[@]}" >/dev/null; }
# The lists that a machine came with may be old, or none.
install 2>/dev/null || { apt-get update >/dev/null && install; }
printf 'browser: installed %s\n' "${wanted[*]}"
