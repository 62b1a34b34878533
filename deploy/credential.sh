#!/bin/sh
# Stores a secret for the service, read from standard input: in a file for root alone, which systemd hands to the
# daemon and as-service.sh to aprilgan-admin. It is in no argument, no environment and no log.
#
#   sh credential.sh records.url        (or redis.url, ingest.server_secret_key ...)
#   sh credential.sh --remove records.url
set -eu

usage() { echo "usage: sh credential.sh [--root DIR] [--remove] SECTION.SETTING <SECRET"; }

root='' remove='' setting=''
while [ $# -gt 0 ]; do
  case $1 in
    --root)
      [ $# -ge 2 ] || { usage >&2 && exit 2; }
      root=$(cd "$2" && pwd)
      shift
      ;;
    --remove) remove=yes ;;
    -h | --help) usage && exit 0 ;;
    -*) usage >&2 && exit 2 ;;
    *) setting=$1 ;;
  esac
  shift
done

here=$(cd "$(dirname "$0")" && pwd -P)
# shellcheck source=deploy/machine.sh
. "$here/machine.sh"

secrets=$etc/credentials
drop_in=$units/$unit.d/30-credentials.conf

read_secret() {
  if [ -t 0 ]; then
    printf '%s: ' "$setting" >&2
    stty -echo
    trap 'stty echo' EXIT
  fi
  IFS= read -r secret || [ -n "$secret" ] || fail "$USAGE" "expected the secret on standard input, got nothing"
}

# Named one by one, so that systemd refuses to start without one of them.
write_drop_in() {
  printf '# Written by credential.sh: what lies in %s.\n[Service]\n' "${secrets#"$root"}"
  for file in "$secrets"/*; do
    [ ! -f "$file" ] || printf 'LoadCredential=%s:%s\n' "$(basename "$file")" "${file#"$root"}"
  done
}

require_root
echo "$setting" | grep -Eqx '[a-z]+\.[a-z_]+' || fail "$USAGE" "expected SECTION.SETTING such as records.url, got '$setting'"
[ -d "$secrets" ] || fail "$REFUSED" "$secrets is not there: run install.sh first"
name=APRILGAN_$(echo "$setting" | sed 's/\./__/' | tr '[:lower:]' '[:upper:]')
if [ -n "$remove" ]; then
  rm -f "$secrets/$name"
else
  read_secret
  (umask 077 && printf '%s\n' "$secret" >"$secrets/.new" && mv "$secrets/.new" "$secrets/$name")
fi
mkdir -p "$(dirname "$drop_in")"
write_drop_in >"$drop_in.new"
mv "$drop_in.new" "$drop_in"
service daemon-reload
say "next: systemctl restart $unit"
