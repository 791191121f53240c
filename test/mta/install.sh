#!/usr/bin/env bash
# Brings the real mail servers that the tests talk to, beside each other and apart from the system.
#
#   test/mta/install.sh [postfix|dovecot|exim|opensmtpd ...]      (nothing given: all of them)
#
# Debian's mail servers conflict as packages, so none is installed: each .deb is downloaded with apt
# and unpacked with dpkg -x into a root of its own, with the shared libraries the system lacks in
# <root>/libs. Nothing outside the root is changed, but for a system user Debian-exim that is added and
# a link /usr/lib/dovecot/modules where there is none, and no service is started.
#
#   POSTHASTE_MTA_ROOT   where to (default: /var/cache/posthaste-mta); every folder
#                        above it must be open to all, for the servers drop their privileges
#
# Needs Debian bookworm and apt; root, because apt's lists may have to be fetched and because the
# servers themselves only run as root. A second run finds its stamps and ends at once.
set -euo pipefail
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

root=${POSTHASTE_MTA_ROOT:-/var/cache/posthaste-mta}
self=$(readlink -f "${BASH_SOURCE[0]}")
stamp_key=$(sha256sum "$self" | cut -d' ' -f1)
work=

say() { printf 'mta: %s\n' "$*"; }
cleanup() { [[ -z $work ]] || rm -rf "$work"; }
trap cleanup EXIT

packages_of() {
  case $1 in
    postfix) echo postfix ;;
    # The certificates of every test server are made with openssl: taken along where there is none.
    dovecot) echo dovecot-core dovecot-imapd "$(command -v openssl >/dev/null || echo openssl)" ;;
    exim) echo exim4-base exim4-daemon-heavy ;;
    opensmtpd) echo opensmtpd ;;
    *) return 1 ;;
  esac
}

# One line a package: name and version.
stamped() { [[ -f $root/$1.versions && -f $root/$1.stamp && $(<"$root/$1.stamp") == "$stamp_key" ]]; }

have_lists() { apt-cache show postfix >/dev/null 2>&1; }

# OpenSMTPD as bookworm builds it (against OpenSSL 3) fails every TLS handshake, so bullseye's is
# taken, with OpenSSL 1.1: from the same mirror, by an apt whose lists are its own.
bullseye_apt=()
bullseye() {
  local mirror state=$root/apt-bullseye
  mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 2>/dev/null |
    grep -m1 -E 'debian/?$' || true)
  [[ -n $mirror ]] || { echo "apt names no Debian mirror to take OpenSMTPD from" >&2; return 1; }
  mkdir -p "$state/state/lists/partial" "$state/cache/archives/partial"
  printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s bullseye main\n' \
    "${mirror%/}" >"$state/sources.list"
  : >"$state/status"
  bullseye_apt=(
    -o "Dir::Etc::sourcelist=$state/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o "Dir::State=$state/state" -o "Dir::State::status=$state/status" -o "Dir::Cache=$state/cache"
    -o Acquire::Check-Valid-Until=false -o APT::Sandbox::User=root
  )
  apt-get "${bullseye_apt[@]}" -qq update
}

# The libraries (packages called lib*) that these packages depend on, however deep, and neither the
# system nor ${libraries_in} has. One that is there has its own dependencies there too.
missing_libraries() {
  local -A seen=()
  local todo=("$@") next name
  while ((${#todo[@]})); do
    mapfile -t next < <(apt-cache "${apt_options[@]}" depends --no-recommends --no-suggests \
      --no-conflicts --no-breaks --no-replaces --no-enhances "${todo[@]}" |
      sed -nE 's/^ +\|?(Pre)?Depends: (lib[a-z0-9.+-]+)$/\2/p' | sort -u)
    todo=()
    for name in "${next[@]}"; do
      [[ -n ${seen[$name]:-} || $name == libc6 || $name == libgcc-s1 ]] && continue
      seen[$name]=1
      dpkg-query -W -f '${db:Status-Status}\n' "$name" 2>/dev/null | grep -qx installed && continue
      [[ -e $libraries_in/.have/$name ]] && continue
      todo+=("$name")
      echo "$name"
    done
  done
}

# download FOLDER PACKAGE...: lists that have grown old name versions that are gone, so once more
# with new ones.
apt_options=()
download() {
  mkdir -p "$1"
  (
    cd "$1"
    shift
    apt-get "${apt_options[@]}" -qq -o APT::Sandbox::User=root download "$@" || {
      apt-get "${apt_options[@]}" -qq update
      apt-get "${apt_options[@]}" -qq -o APT::Sandbox::User=root download "$@"
    }
  )
}

unpack() {
  local deb
  mkdir -p "$2"
  for deb in "$1"/*.deb; do dpkg -x "$deb" "$2"; done
}

install_libraries() {
  local name
  mkdir -p "$libraries_in/.have"
  (($#)) || return 0
  rm -rf "$work/libs"
  download "$work/libs" "$@"
  unpack "$work/libs" "$libraries_in"
  for name in "$@"; do touch "$libraries_in/.have/$name"; done
}

library_path() {
  local triplet folder path=
  triplet=$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || echo "$(uname -m)-linux-gnu")
  for folder in "$1"/usr/lib/{postfix,dovecot,dovecot/modules/old-stats,"$triplet"} \
    "$1/usr/lib" "$1/lib/$triplet" libs/usr/lib libs/usr/lib/"$triplet" libs/lib/"$triplet"; do
    [[ ! -d $root/$folder ]] || path+=${path:+:}$root/$folder
  done
  printf '%s\n' "$path"
}

# Every program that will be run must find all its libraries.
check() {
  local lacking
  lacking=$(find "$root/$1/usr/sbin" "$root/$1/usr/lib/postfix/sbin" "$root/$1/usr/lib/dovecot" \
    "$root/$1/usr/lib/exim4" -maxdepth 1 -type f -perm /111 2>/dev/null |
    LD_LIBRARY_PATH=$(<"$root/$1.libraries") xargs -r ldd 2>/dev/null | grep 'not found' |
    sort -u || true)
  if [[ -n $lacking ]]; then
    say "$1 lacks libraries:" >&2
    printf '%s\n' "$lacking" >&2
    return 1
  fi
}

install_one() {
  local name=$1 folder=$work/$1 packages libraries deb
  read -ra packages <<<"$(packages_of "$name")"
  rm -rf "${root:?}/$name" "$root/$name.stamp"
  apt_options=()
  libraries_in=$root/libs
  if [[ $name == opensmtpd ]]; then
    bullseye
    apt_options=("${bullseye_apt[@]}")
    libraries_in=$root/opensmtpd # an older release's: for it alone
  fi
  mapfile -t libraries < <(missing_libraries "${packages[@]}")
  install_libraries "${libraries[@]}"
  download "$folder" "${packages[@]}"
  unpack "$folder" "$root/$name"
  # A set-user-ID program is denied LD_LIBRARY_PATH, and none of these needs to become root.
  find "$root/$name" -type f -perm /6000 -exec chmod a-s {} +
  # Exim has its user's name compiled in, and will not even read its configuration without one.
  if [[ $name == exim ]] && ! getent passwd Debian-exim >/dev/null; then
    useradd --system --user-group --no-create-home --home-dir /nonexistent \
      --shell /usr/sbin/nologin Debian-exim
  fi
  # Dovecot's TLS is a module, and where it lies is compiled in.
  if [[ $name == dovecot && ! -e /usr/lib/dovecot/modules ]]; then
    mkdir -p /usr/lib/dovecot
    ln -sfn "$root/dovecot/usr/lib/dovecot/modules" /usr/lib/dovecot/modules
  fi
  library_path "$name" >"$root/$name.libraries"
  check "$name"
  for deb in "$folder"/*.deb; do
    dpkg-deb -W --showformat '${Package} ${Version}\n' "$deb"
  done >"$root/$name.versions"
  printf '%s\n' "$stamp_key" >"$root/$name.stamp"
}

main() {
  local names=("$@") name todo=() failed=0
  ((${#names[@]})) || names=(postfix dovecot exim opensmtpd)
  for name in "${names[@]}"; do
    packages_of "$name" >/dev/null || {
      say "no such server: $name" >&2
      exit 2
    }
    stamped "$name" || todo+=("$name")
  done

  if ((${#todo[@]})); then
    mkdir -p "$root"
    chmod 755 "$root"
    exec 9>"$root/.lock"
    flock 9
    work=$(mktemp -d)
    command -v apt-get >/dev/null || {
      say "needs apt (Debian bookworm)" >&2
      exit 1
    }
    have_lists || apt-get -qq update
    for name in "${todo[@]}"; do
      stamped "$name" && continue
      # In a subshell of its own, so that set -e holds in it and one failure leaves the others be.
      set +e
      (
        set -e
        install_one "$name"
      )
      (($? == 0)) || {
        failed=1
        say "$name could not be installed" >&2
      }
      set -e
    done
  fi

  for name in "${names[@]}"; do
    stamped "$name" && say "$name: $(paste -sd, "$root/$name.versions" | sed 's/,/, /g')"
  done
  return "$failed"
}

main "$@"
