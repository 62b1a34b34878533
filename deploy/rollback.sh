#!/bin/sh
# Puts the release that was in charge before the last upgrade back, with the revision its database had.
# Verdicts that were recorded in the meantime stay.
set -eu

usage() { echo "usage: sh rollback.sh [--root DIR] [--wait SECONDS]"; }

root='' wait=180
while [ $# -gt 0 ]; do
  case $1 in
    --root | --wait)
      [ $# -ge 2 ] || { usage >&2 && exit 2; }
      case $1 in
        --root) root=$(cd "$2" && pwd) ;;
        --wait) wait=$2 ;;
      esac
      shift
      ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
  esac
  shift
done

here=$(cd "$(dirname "$0")" && pwd -P)
# shellcheck source=deploy/machine.sh
. "$here/machine.sh"

require_root
[ -L "$current" ] || fail "$REFUSED" "nothing is installed in $opt"
alone
newer=$(release_of "$current")
former=$(value_of "$releases/$newer/came-from" former 2>/dev/null || true)
[ -n "$former" ] || fail "$REFUSED" "$newer was not an upgrade: there is no release to go back to"
[ -e "$releases/$former/complete" ] || fail "$REFUSED" "the release $former is no longer in $releases"
if is_running; then was_running=yes; else was_running=''; fi
failing=$([ -z "$was_running" ] || admin "$newer" ready --failing)
return_to "$former" "$newer"
[ -z "$was_running" ] || comes_up "$former" "$wait" "$failing" ||
  fail "$UNAVAILABLE" "$former is in charge, but not ready: journalctl -u $unit; sudo aprilgan-admin doctor"
say "$former is in charge again"
