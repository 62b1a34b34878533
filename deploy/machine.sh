# shellcheck shell=sh disable=SC2034,SC2154
# Where everything lies on an inspection PC, how its systemd is asked, and the way back to a former release.
# Sourced by install.sh, rollback.sh, uninstall.sh and credential.sh, which set $root (empty, or the folder of --root)
# and $here (the folder of these files).

LC_ALL=C
export LC_ALL
umask 022 # root's own may be 077, and the service's user has to read what is installed

unit=aprilgan-daemon.service
user=aprilgan
opt=$root/opt/aprilgan
releases=$opt/releases
current=$opt/current
etc=$root/etc/aprilgan
state=$root/var/lib/aprilgan
units=$root/etc/systemd/system
program=$(basename "$0")

# The exit codes of every command of this project.
readonly REFUSED=1 USAGE=2 UNAVAILABLE=69

say() { printf '%s: %s\n' "$program" "$*"; }

fail() { # CODE MESSAGE
  code=$1
  shift
  printf '%s: %s\n' "$program" "$*" >&2
  exit "$code"
}

# Below --root the machine's own systemd has no business; $SYSTEMCTL may name a stand-in for it.
if [ -z "$root" ]; then systemctl=${SYSTEMCTL:-systemctl}; else systemctl=${SYSTEMCTL:-}; fi
service() { [ -z "$systemctl" ] || "$systemctl" "$@"; }
is_running() { # or tries to
  case $(service is-active "$unit") in active | activating | reloading) ;; *) return 1 ;; esac
}

require_root() {
  [ -n "$root" ] || [ "$(id -u)" -eq 0 ] || fail "$USAGE" "expected to be run by root: sudo sh $0"
}

# One at a time: two hands on the link `current` would leave neither release.
alone() {
  mkdir -p "$opt"
  exec 9>"$opt/.lock"
  flock -n 9 || fail "$UNAVAILABLE" "another of these scripts is at work on $opt; wait for it"
}

release_of() { basename "$(readlink "$1")"; }

# The administrator's command of one release, as the service's user and with its secrets.
admin() { # RELEASE ARGUMENT...
  command=$releases/$1/bin/aprilgan-admin
  shift
  sh "$here/as-service.sh" "$root" "$command" "$@"
}

# One line of a file of NAME=VALUE lines; nothing where there is none.
value_of() { # FILE NAME
  sed -n "s/^$2=//p" "$1"
}

# The files of one deploy folder, where systemd and people look for them. An edited configuration stays.
plant() { # DEPLOY
  put "$1" 0644 "systemd/$unit" "$units/$unit"
  for drop_in in 10-gpu.conf 20-network.conf; do
    put "$1" 0644 "systemd/$unit.d/$drop_in.example" "$units/$unit.d/$drop_in.example"
  done
  put "$1" 0644 sysusers.d/aprilgan.conf "$root/usr/lib/sysusers.d/aprilgan.conf"
  put "$1" 0644 tmpfiles.d/aprilgan.conf "$root/usr/lib/tmpfiles.d/aprilgan.conf"
  for page in INSTALL.md RUNBOOK.md; do
    put "$1" 0644 "$page" "$root/usr/share/doc/aprilgan/$page"
  done
  [ -e "$etc/aprilgan.toml" ] || plant_example "$1"
}

# Below --root the example names the state folder below it: nothing may reach out of there.
plant_example() { # DEPLOY
  put "$1" 0640 aprilgan.toml "$etc/aprilgan.toml"
  [ -z "$root" ] || sed -i "s|^dir = \"/|dir = \"$root/|" "$etc/aprilgan.toml"
}

put() { install -D -m "$2" "$1/$3" "$4"; } # DEPLOY MODE FILE PLACE

# The link is replaced in one step: there is always a release in charge.
put_in_charge() { # RELEASE
  ln -sfn "releases/$1" "$current.new"
  mv -T "$current.new" "$current"
  plant "$releases/$1/deploy"
  service daemon-reload
}

# Started, and ready but for the checks that failed before as well (a line that never had a bank, say).
comes_up() { # RELEASE SECONDS ALLOWED
  service start "$unit" && admin "$1" ready --wait "$2" --allow "$3"
}

# Back to the release before, database first: only the newer program knows how its tables go back.
return_to() { # FORMER NEWER
  record=$releases/$2/came-from
  revision=$(value_of "$record" revision)
  backup=$(value_of "$record" backup)
  service stop "$unit"
  if [ -n "$revision" ] && ! admin "$2" db downgrade "$revision"; then
    [ -n "$backup" ] || fail "$UNAVAILABLE" "the database could not go back to revision $revision; the service stays stopped. \
When SQL answers: sh $0"
    admin "$2" db restore "$backup" ||
      fail "$UNAVAILABLE" "neither downgrade nor backup worked; the service stays stopped. The backup: $backup"
  fi
  put_in_charge "$1"
  rm -f "$record"
}
