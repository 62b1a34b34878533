#!/bin/sh
# Plants the files of deploy/ on a machine (or below DESTDIR) and keeps what an operator has edited.
# The program itself goes into /opt/aprilgan/venv: see INSTALL.md.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=${DESTDIR:-}

put() { install -D -m "$1" "$here/$2" "$root$3"; }
put_once() { [ -e "$root$3" ] || put "$@"; }

put 0644 systemd/aprilgan-daemon.service /etc/systemd/system/aprilgan-daemon.service
for drop_in in 10-gpu.conf 20-network.conf; do
  put 0644 "systemd/aprilgan-daemon.service.d/$drop_in.example" \
    "/etc/systemd/system/aprilgan-daemon.service.d/$drop_in.example"
done
put 0644 sysusers.d/aprilgan.conf /usr/lib/sysusers.d/aprilgan.conf
put 0644 tmpfiles.d/aprilgan.conf /usr/lib/tmpfiles.d/aprilgan.conf
put_once 0640 aprilgan.toml /etc/aprilgan/aprilgan.toml
put 0644 INSTALL.md /usr/share/doc/aprilgan/INSTALL.md

[ -n "$root" ] && exit 0
systemd-sysusers aprilgan.conf
systemd-tmpfiles --create aprilgan.conf
chgrp aprilgan /etc/aprilgan/aprilgan.toml
systemctl daemon-reload
echo "planted; next: edit /etc/aprilgan/aprilgan.toml, then systemctl enable --now aprilgan-daemon"
