# apt_install PACKAGE…: installs packages of Debian or Ubuntu when root, otherwise names the command and fails. The
# setup scripts source this and call it with what is missing.

apt_install() {
  apt_command="apt-get install -y --no-install-recommends $*"
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "Missing: $*. Run as root: $apt_command" >&2
    return 1
  fi
  export DEBIAN_FRONTEND=noninteractive
  echo "Installing $*" >&2
  # The package lists may be old or absent: fetch them only when the first try needs it.
  $apt_command >/dev/null 2>&1 || {
    apt-get update -q >&2 || true
    $apt_command -q >&2
  }
}
