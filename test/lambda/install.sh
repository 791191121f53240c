#!/usr/bin/env bash
# Builds AWS's own runtime interface client, the program that runs a handler inside Lambda.
#
#   test/lambda/install.sh
#
# It is no devDependency: its native part is compiled (libcurl and aws-lambda-cpp, whose sources the
# package brings along), which takes minutes and a C++ compiler that nobody else here needs. So it
# lives in a root of its own, and the tests that need it are skipped by name where it is missing.
#
#   POSTHASTE_RIC_ROOT   where to (default: /var/cache/posthaste-ric)
#
# Compilers that are lacking are installed with apt (Debian bookworm, root). A second run finds its
# stamp and ends at once.
#
# The package would build its addon with node-gyp, which downloads Node's headers. The addon speaks
# Node-API alone, whose binary interface is the same in every Node, so two packages of the registry
# have all that it needs; the three headers of Node's insides that it names and never uses are empty.
set -euo pipefail
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

version=4.0.2
packages=("aws-lambda-ric@$version" node-addon-api@8.5.0 node-api-headers@1.9.0)
root=${POSTHASTE_RIC_ROOT:-/var/cache/posthaste-ric}
stamp=$(sha256sum "$(readlink -f "${BASH_SOURCE[0]}")" | cut -d' ' -f1)

say() { printf 'ric: %s\n' "$*"; }
stamped() { [[ -f $root/stamp && $(<"$root/stamp") == "$stamp" ]]; }

tools() {
  local tool lacking=()
  for tool in cmake g++ make tar xz:xz-utils; do
    command -v "${tool%%:*}" >/dev/null || lacking+=("${tool##*:}")
  done
  ((${#lacking[@]})) || return 0
  command -v apt-get >/dev/null || {
    say "needs ${lacking[*]}" >&2
    return 1
  }
  apt-get -qq install -y --no-install-recommends "${lacking[@]}" ||
    { apt-get -qq update && apt-get -qq install -y --no-install-recommends "${lacking[@]}"; }
}

compile() {
  local own=$work/node_modules/aws-lambda-ric modules=$work/node_modules header
  (cd "$own" && sh scripts/preinstall.sh)
  mkdir "$work/unused"
  for header in uv v8 node; do : >"$work/unused/$header.h"; done
  g++ -shared -fPIC -O2 -std=c++17 -fvisibility=hidden -DNAPI_CPP_EXCEPTIONS \
    -DNODE_GYP_MODULE_NAME=rapid_client -DBUILDING_NODE_EXTENSION \
    -I"$work/unused" -I"$modules/node-api-headers/include" -I"$modules/node-addon-api" \
    -I"$own/deps/artifacts/include" "$own/src/native/rapid-client.cc" \
    "$own"/deps/artifacts/lib/lib{aws-lambda-runtime,curl}.a -pthread -o "$own/rapid-client.node"
  rm -rf "$own/deps" "$work/unused"
}

main() {
  if ! stamped; then
    mkdir -p "$root"
    exec 9>"$root/.lock"
    flock 9
  fi
  if ! stamped; then
    tools
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    npm install --prefix "$work" --ignore-scripts --no-audit --no-fund --no-save \
      --loglevel=error "${packages[@]}"
    compile >"$work/log" 2>&1 || {
      tail -n 40 "$work/log" >&2
      say "could not be built" >&2
      exit 1
    }
    # Bundled, it needs none of the packages that it was built with.
    rm -rf "$root/aws-lambda-ric"
    mv "$work/node_modules/aws-lambda-ric" "$root/aws-lambda-ric"
    printf '%s\n' "$stamp" >"$root/stamp"
  fi
  say "aws-lambda-ric $version"
}

main
