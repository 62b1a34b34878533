#!/bin/sh
# Installs AprilGAN Inspector from the stick that this file lies on, or upgrades what is installed. Running it again
# changes nothing; a configuration that somebody edited is never touched. See INSTALL.md.
set -eu

usage() {
  cat <<'TEXT'
usage: sh deploy/install.sh [--root DIR] [--python PROGRAM] [--digest HEX] [--wait SECONDS] [--check | --files-only]

  --check           only verify the stick and this machine; change nothing
  --digest HEX      refuse a stick whose SHA256SUMS has another digest than `aprilgan-admin bundle` printed
  --python PROGRAM  the Python to run it with (python3)
  --wait SECONDS    how long an upgraded service may take to be ready before it is rolled back (180)
  --root DIR        install below DIR, without users, and without systemd unless $SYSTEMCTL names a stand-in
  --files-only      only the unit, the folders and the example configuration (for a program installed otherwise)

exit codes: 0 done, 1 refused (nothing changed, or rolled back), 2 usage, 69 unavailable, 78 configuration
TEXT
}

root='' python=python3 digest='' wait=180 what=install
while [ $# -gt 0 ]; do
  case $1 in
    --root | --python | --digest | --wait)
      [ $# -ge 2 ] || { usage >&2 && exit 2; }
      case $1 in
        --root) mkdir -p "$2" && root=$(cd "$2" && pwd) ;;
        --python) python=$2 ;;
        --digest) digest=$2 ;;
        --wait) wait=$2 ;;
      esac
      shift
      ;;
    --check) what=check ;;
    --files-only) what=files ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
  esac
  shift
done

here=$(cd "$(dirname "$0")" && pwd -P)
stick=$(dirname "$here")
# shellcheck source=deploy/machine.sh
. "$here/machine.sh"

about() { value_of "$stick/bundle.txt" "$1"; }

# Before anything is touched: every file is there, whole, and none is strange.
verify_stick() {
  [ -f "$stick/SHA256SUMS" ] ||
    fail "$REFUSED" "expected a folder made by \`aprilgan-admin bundle\`, but $stick has no SHA256SUMS"
  found=$(sha256sum <"$stick/SHA256SUMS" | cut -c1-64)
  [ -z "$digest" ] || [ "$digest" = "$found" ] ||
    fail "$REFUSED" "another stick: expected the digest $digest, $stick/SHA256SUMS has $found"
  damage=$(cd "$stick" && sha256sum --check --strict --quiet SHA256SUMS 2>&1) ||
    fail "$REFUSED" "the stick is damaged, nothing was changed; copy it again:
$damage"
  strange=$(cd "$stick" && find wheelhouse deploy weights -type f 2>/dev/null |
    awk 'NR == FNR { listed[substr($0, 67)]; next } !($0 in listed)' SHA256SUMS -)
  [ -z "$strange" ] || fail "$REFUSED" "the stick holds files that SHA256SUMS does not list, nothing was changed:
$strange"
  release=$(about version)-$(echo "$found" | cut -c1-8)
}

require_python() {
  command -v "$python" >/dev/null ||
    fail "$REFUSED" "$python is not there: apt install python3 python3-venv (Debian's medium has both)"
  found=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  [ "$found" = "$(about python)" ] ||
    fail "$REFUSED" "the stick is for Python $(about python), $python is Python $found: make the stick with Python $found, \
or name the right one with --python"
  "$python" -c 'import sys; sys.exit(list(sys.version_info[:3]) < [int(part) for part in sys.argv[1].split(".")])' \
    "$(about python_least)" ||
    fail "$REFUSED" "the stick is for Python $(about python_least) and later patch levels, $python is \
$("$python" -c 'import platform; print(platform.python_version())'): where it is made, pip install what \`bundle\` named there"
  [ "$(uname -m)" = "$(about machine)" ] ||
    fail "$REFUSED" "the stick is for $(about machine), this machine is $(uname -m): make the stick on one of its kind"
  "$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$REFUSED" "Python cannot make environments here: apt install python3-venv (Debian's medium has it)"
}

require_systemd() {
  [ -n "$root" ] || [ -d /run/systemd/system ] ||
    fail "$REFUSED" "systemd does not run here; the service needs it (--files-only plants the files without)"
}

require_space() {
  place=$opt
  while [ ! -d "$place" ]; do place=$(dirname "$place"); done
  free=$(df -Pk "$place" | awk 'NR == 2 { print $4 }')
  [ "$free" -ge "$(about needs_kib)" ] ||
    fail "$REFUSED" "$opt needs $(($(about needs_kib) / 1024)) MiB, $((free / 1024)) MiB are free at $place: make room there"
}

# An environment of its own for each release. It cannot be moved, so it is built in place; `complete` comes last.
build_release() {
  new=$releases/$release
  if [ -e "$new/complete" ]; then return; fi
  require_space
  say "installing $release into $new"
  rm -rf "$new"
  "$python" -m venv "$new" || { rm -rf "$new" && fail "$REFUSED" "no environment could be made in $new"; }
  "$new/bin/python" -m pip --isolated --disable-pip-version-check install --no-cache-dir --no-index --progress-bar off \
    --find-links "$stick/wheelhouse" --constraint "$stick/constraints.txt" "aprilgan-inspector==$(about version)" \
    >"$opt/pip.log" 2>&1 ||
    { rm -rf "$new" && tail -n 15 "$opt/pip.log" >&2 &&
      fail "$REFUSED" "pip could not install the stick's wheels here (its words are above); nothing was changed"; }
  "$new/bin/aprilgan-daemon" --version >/dev/null ||
    { rm -rf "$new" && fail "$REFUSED" "the program does not start on this machine (its words are above); nothing was changed"; }
  cp -R "$here" "$new/deploy"
  cp "$stick/bundle.txt" "$stick/constraints.txt" "$new/"
  : >"$new/complete"
}

# The service's user and folders; below --root only the folders, as whoever runs this.
make_user_and_folders() {
  if [ -z "$root" ]; then
    systemd-sysusers aprilgan.conf
    systemd-tmpfiles --create aprilgan.conf
    chgrp "$user" "$etc/aprilgan.toml"
  else
    install -d -m 0750 "$etc" "$state"
    install -d -m 0700 "$etc/credentials"
  fi
}

# `aprilgan-admin` for everybody: root becomes the service's user.
put_command() {
  install -d "$root/usr/local/bin"
  printf '#!/bin/sh\nexec sh "%s/deploy/as-service.sh" "%s" "%s/bin/aprilgan-admin" "$@"\n' \
    "$current" "$root" "$current" >"$root/usr/local/bin/aprilgan-admin"
  chmod 0755 "$root/usr/local/bin/aprilgan-admin"
}

put_weights() {
  [ -d "$stick/weights" ] || return 0
  for file in "$stick"/weights/*; do
    target=$opt/weights/$(basename "$file")
    cmp -s "$file" "$target" || install -D -m 0644 "$file" "$target"
    say "weights: set [model] weights = \"${target#"$root"}\" in $etc/aprilgan.toml"
  done
}

first_install() {
  plant "$here"
  make_user_and_folders
  put_in_charge "$release"
  put_command
  put_weights
  say "installed $release. Next: edit $etc/aprilgan.toml, then systemctl enable --now $unit, then sudo aprilgan-admin doctor"
}

upgrade() { # FORMER
  former=$1
  # Asked of the new program while the old one inspects: it may refuse the configuration, or SQL may be down.
  database=$(admin "$release" db current --json) ||
    fail $? "the new release cannot use this machine's settings or database (its words are above); $former inspects on"
  if is_running; then was_running=yes; else was_running=''; fi
  failing=$([ -z "$was_running" ] || admin "$release" ready --failing)
  trap 'give_up interrupted' INT TERM HUP
  say "stopping $former"
  service stop "$unit"
  remember "$database" || give_up "the database could not be copied"
  admin "$release" db upgrade || give_up "the database could not be migrated"
  put_in_charge "$release"
  put_command
  put_weights
  if [ -n "$was_running" ]; then
    comes_up "$release" "$wait" "$failing" || give_up "it was not ready within $wait s"
  else
    say "the service was stopped before and stays so: nobody has seen $release work here yet"
  fi
  trap - INT TERM HUP
  forget_old_releases
  say "upgraded from $former to $release; the way back: sh $current/deploy/rollback.sh"
}

# What the way back needs. A record that is there already is that of an upgrade which the power cut short.
remember() { # DATABASE
  record=$releases/$release/came-from
  [ ! -e "$record" ] || return 0
  revision=$(echo "$1" | sed -n 's/.*"current": "\([^"]*\)".*/\1/p')
  backup=''
  if echo "$1" | grep -q '"file": "'; then
    backup=$state/backups/before-$release.db
    admin "$release" db backup "$backup" || return 1
  fi
  printf 'former=%s\nrevision=%s\nbackup=%s\n' "$former" "$revision" "$backup" >"$record.new"
  mv "$record.new" "$record"
}

give_up() { # WHY
  trap '' INT TERM HUP
  say "$release is taken back: $1" >&2
  return_to "$former" "$release"
  if [ -n "$was_running" ] && ! comes_up "$former" "$wait" "$failing"; then
    fail "$UNAVAILABLE" "rolled back to $former, which is not ready either: journalctl -u $unit; sudo aprilgan-admin doctor"
  fi
  fail "$REFUSED" "rolled back to $former; why $release failed: journalctl -u $unit"
}

forget_old_releases() {
  for folder in "$releases"/*; do
    name=$(basename "$folder")
    case $name in "$release" | "$former") continue ;; esac
    rm -rf "$folder" "$state/backups/before-$name.db"
  done
}

require_root
if [ "$what" = files ]; then
  plant "$here"
  make_user_and_folders
  service daemon-reload
  exit 0
fi
verify_stick
require_python
if [ "$what" = check ]; then
  require_space
  say "the stick $release is whole and fits this machine"
  exit 0
fi
require_systemd
alone
build_release
if [ ! -L "$current" ]; then
  first_install
elif [ "$(release_of "$current")" = "$release" ]; then
  put_in_charge "$release"
  make_user_and_folders
  put_command
  put_weights
  say "$release is installed already"
else
  upgrade "$(release_of "$current")"
fi
