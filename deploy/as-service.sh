#!/bin/sh
# Runs a program as the service's own user, with the service's settings, environment file and secrets. What root
# itself would create in the state folder, the daemon could not open.
#
#   as-service.sh ROOT PROGRAM [ARGUMENT...]      ROOT: empty on a real machine
set -eu

user=aprilgan
root=$1
shift
etc=$root/etc/aprilgan

# NAME=VALUE lines as systemd reads them: nothing in them is run or expanded.
import() { # FILE
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in
      [A-Z]*=*)
        value=${line#*=}
        case $value in \"*\") value=${value#\"} value=${value%\"} ;; esac
        export "${line%%=*}=$value"
        ;;
    esac
  done <"$1"
}

[ ! -r "$etc/aprilgan.env" ] || import "$etc/aprilgan.env"
[ ! -e "$etc/aprilgan.toml" ] || export APRILGAN_CONFIG="${APRILGAN_CONFIG:-$etc/aprilgan.toml}"

# Below --root, or as somebody else already, there is nobody to become.
if [ -n "$root" ]; then
  [ ! -d "$etc/credentials" ] || export CREDENTIALS_DIRECTORY="$etc/credentials"
  exec "$@"
fi
[ "$(id -u)" -eq 0 ] || exec "$@"

secrets=$(mktemp -d /run/aprilgan.XXXXXX)
trap 'rm -rf "$secrets"' EXIT
trap 'exit 130' INT TERM HUP
for file in "$etc"/credentials/*; do
  [ ! -f "$file" ] || install -m 0400 -o "$user" -g "$user" "$file" "$secrets/"
done
chown "$user:$user" "$secrets"
HOME=/var/lib/aprilgan XDG_CACHE_HOME=/var/cache/aprilgan CREDENTIALS_DIRECTORY=$secrets \
  setpriv --reuid="$user" --regid="$user" --init-groups -- "$@"
