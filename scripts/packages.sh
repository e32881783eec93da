# The Debian and Ubuntu packages that this project needs, in one place; sourced by the other scripts.
#
# `require_packages GROUP…` installs what is missing of the groups (with sudo if not root) and says so.
# `require_swift` checks the toolchain. Both work on Debian 12 and Ubuntu 24.04.
# shellcheck shell=bash

# What the build and the development certificates need.
packages_build=(ca-certificates pkg-config libssl-dev libpcre2-dev libc-ares-dev libnghttp2-dev zlib1g-dev libcrypt-dev openssl)
# The applications of examples/.
packages_apps=(golang-go golang-github-gin-gonic-gin-dev golang-github-lib-pq-dev golang-golang-x-net-dev)
# What the tests drive the front door with, and what stands behind it.
packages_test=(curl mount python3 python3-grpcio nghttp2-client strace postgresql "${packages_apps[@]}")
# Benchmarks/compare; the peers are left out when they are missing.
packages_compare=(python3 wrk nghttp2-client nginx haproxy h2o caddy)
# An engine for scripts/test --docker on a machine that has none.
packages_docker=(docker.io docker-compose mmdebstrap)

has_package() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

require_packages() {
  local group package missing=() sudo=()
  for group in "$@"; do
    local -n packages=packages_$group
    for package in "${packages[@]}"; do has_package "$package" || missing+=("$package"); done
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if ! command -v apt-get >/dev/null; then
    echo "This is not Debian or Ubuntu. Install what they call: ${missing[*]}" >&2
    return 0
  fi
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || {
      # Not "run this as root": what root builds here this user could not build again.
      echo "Some packages are missing, and there is no sudo to install them with. As root:" >&2
      echo "  apt-get update && apt-get install --no-install-recommends ${missing[*]}" >&2
      return 1
    }
    sudo=(sudo)
  fi
  echo "Installing ${missing[*]} …" >&2
  # Without "env" sudo would drop the variable.
  "${sudo[@]}" apt-get update -qq
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

require_swift() {
  local version
  if ! command -v swift >/dev/null; then
    echo "Swift 6.2 or newer is needed, and there is none in PATH. Two ways to get it:" >&2
    echo "  swiftly, the toolchain installer: https://www.swift.org/install/linux/" >&2
    echo "  or the official image:            docker run -it -v \"\$PWD:/src\" -w /src swift:6.3" >&2
    return 1
  fi
  version=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9]*\.[0-9]*\).*/\1/p' | head -n 1)
  if [ "$(printf '%s\n6.2\n' "$version" | sort -V | head -n 1)" != 6.2 ]; then
    echo "Swift 6.2 or newer is needed; this is $version: https://www.swift.org/install/linux/" >&2
    return 1
  fi
}

# Builds the Go applications with Debian's sources, without a network.
build_go_apps() {
  local app
  for app in go-app gin-app; do
    (cd "examples/$app" && GO111MODULE=off GOPATH="${GOPATH:-/usr/share/gocode}" go build -o "$app" .)
  done
}
