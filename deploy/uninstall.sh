#!/bin/sh
# Takes the program and its units off the machine. Verdicts, banks, pictures and the configuration stay, unless
# --purge asks for them as well.
set -eu

usage() { echo "usage: sh uninstall.sh [--root DIR] [--purge [--yes]]"; }

root='' purge='' yes=''
while [ $# -gt 0 ]; do
  case $1 in
    --root)
      [ $# -ge 2 ] || { usage >&2 && exit 2; }
      root=$(cd "$2" && pwd)
      shift
      ;;
    --purge) purge=yes ;;
    --yes) yes=yes ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
  esac
  shift
done

here=$(cd "$(dirname "$0")" && pwd -P)
# shellcheck source=deploy/machine.sh
. "$here/machine.sh"

confirm() {
  echo "This deletes for ever: $state (verdicts, banks, pictures, keys) and $etc (configuration, secrets)."
  echo "A state folder elsewhere ([state] dir) and a PostgreSQL database are left alone."
  [ -z "$yes" ] || return 0
  printf 'Type purge to go on: '
  read -r answer || answer=''
  [ "$answer" = purge ] || fail "$REFUSED" "nothing was removed"
}

require_root
[ -z "$purge" ] || confirm
if [ -e "$units/$unit" ]; then
  service disable --now "$unit"
fi
rm -rf "${units:?}/$unit" "$units/$unit.d" "$opt" "$root/usr/share/doc/aprilgan"
rm -f "$root/usr/local/bin/aprilgan-admin" "$root/usr/lib/sysusers.d/aprilgan.conf" "$root/usr/lib/tmpfiles.d/aprilgan.conf"
service daemon-reload
if [ -z "$purge" ]; then
  say "the program is gone; $state and $etc stay (uninstall.sh --purge removes them)"
  exit 0
fi
rm -rf "${state:?}" "${etc:?}" "$root/var/cache/aprilgan"
[ -n "$root" ] || ! id "$user" >/dev/null 2>&1 || userdel "$user"
say "the program and its data are gone"
