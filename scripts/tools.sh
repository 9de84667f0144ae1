# To be sourced. Installs what is missing, and says so; installs nothing that is there.

# A directory for each version, so that a new version is installed and an old checkout still finds its own.
cache="${XDG_CACHE_HOME:-$HOME/.cache}/drowse"

die() {
  printf '%s\n' "$*" >&2
  exit 1
}

# need COMMAND PACKAGE: the Debian package, if the command is not there.
need() {
  command -v "$1" >/dev/null && return
  command -v apt-get >/dev/null || die "$1 is missing; install it (Debian calls the package $2)"
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || die "$1 is missing; as root: apt-get install $2"
    as_root=(sudo)
  fi
  printf 'Installing %s ...\n' "$2" >&2
  "${as_root[@]}" apt-get update -qq >&2
  "${as_root[@]}" apt-get install -y -qq --no-install-recommends "$2" >&2 || die "failed to install $2"
}

# need_server NAME: a server for which only the program is needed. Debian starts what it installs, so it is ended at once.
need_server() {
  command -v "$1" >/dev/null && return
  need "$1" "$1"
  if [ -d /run/systemd/system ]; then systemctl disable --quiet --now "$1" >&2 || true; fi
}

# need_python: Python 3.11 or newer, with virtual environments.
need_python() {
  need python3 python3
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "Python 3.11 or newer is missing; install it"
  # Debian has them in a package of their own. A command that is never there makes `need` install it.
  python3 -c 'import ensurepip, venv' 2>/dev/null || need "python3 -m venv" python3-venv
}

# need_rust: cargo, and the components that the checks use.
need_rust() {
  command -v cargo >/dev/null || die "cargo is missing; install Rust first (rustup.rs says how)"
  need cc gcc
  local part
  for part in fmt clippy; do
    cargo "$part" --version >/dev/null 2>&1 && continue
    command -v rustup >/dev/null || die "cargo $part is missing; install it as you have installed Rust"
    rustup component add "${part/#fmt/rustfmt}" >&2 || die "failed to install cargo $part"
  done
}

# need_nightly: leaves in $nightly the toolchain of a fixed day that fuzzing needs, for it watches the memory.
need_nightly() {
  nightly=nightly-2026-05-20
  command -v rustup >/dev/null || die "rustup is missing, which installs $nightly (rustup.rs says how)"
  rustup run "$nightly" rustc --version >/dev/null 2>&1 && return
  printf 'Installing %s ...\n' "$nightly" >&2
  rustup toolchain install --profile minimal --no-self-update "$nightly" >&2 || die "failed to install $nightly"
}

# need_go: what the parts of a test cluster are built with.
need_go() {
  command -v go >/dev/null || die "go is missing; install Go 1.26 or newer first (go.dev/doc/install says how)"
}

# need_browser: Chromium and what drives it, in the same version.
need_browser() {
  need chromium chromium
  need chromedriver chromium-driver
}

# cargo_tool NAME VERSION: leaves its path in $tool.
cargo_tool() {
  local root="$cache/$1-$2"
  tool="$root/bin/$1"
  [ -x "$tool" ] && return
  printf 'Installing %s %s; this takes some minutes, once ...\n' "$1" "$2" >&2
  # With a target directory of its own: nothing of the project's is rebuilt for it, and it is not kept.
  local target
  target=$(mktemp -d)
  CARGO_TARGET_DIR="$target" cargo install --quiet --locked --root "$root" "$1@$2" >&2
  local status=$?
  rm -rf "$target"
  return "$status"
}

# venv NAME FOLDER OPTION...: leaves in $python the python of a virtual environment with the requirements of a folder, made once
# for each state of them. The options are pip's.
venv() {
  local name=$1 folder=$2 requirements=$2/requirements.txt version hash place
  shift 2
  need_python
  need flock util-linux
  # Another version of Python cannot use what this one has installed.
  version=$(python3 -c 'import sys; print(sys.version)')
  hash=$( (printf '%s\n' "$version"; cat "$requirements") | sha256sum | cut -c 1-16)
  place="$cache/$name-$hash"
  mkdir -p "$cache"
  # Two tests that start at once must not both make it. It is done when the mark is there.
  exec 9> "$place.lock"
  flock --timeout 600 9 || die "somebody else has been making $place for ten minutes; delete $place.lock if nobody does"
  if [ ! -e "$place/complete" ]; then
    printf 'Installing what %s needs; this takes a minute, once ...\n' "$folder" >&2
    rm -rf "$place"
    python3 -m venv "$place" >&2 || die "failed to make the virtual environment $place"
    "$place/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: "$@" --require-hashes \
      --requirement "$requirements" >&2 || die "failed to install $requirements"
    touch "$place/complete"
  fi
  python="$place/bin/python"
}
