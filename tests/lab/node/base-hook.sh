# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the base disk has besides packages: no waiting, no console noise, keys.
# Arguments: the root file system, the folder that the machine keeps beside the disk.
set -euo pipefail
root=$1 keep=$2

echo gaudi-node >"$root/etc/hostname"
printf '127.0.0.1 localhost\n10.0.2.15 gaudi-node\n' >"$root/etc/hosts"
# Given, so that the first boot is like any other.
echo 6761756469703270000000000000b007 >"$root/etc/machine-id"
: >"$root/etc/fstab"

# Nothing of these is wanted on a machine that lives for minutes, and each costs an emulated CPU seconds.
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
	fstrim.timer man-db.timer systemd-tmpfiles-clean.timer getty@tty1.service serial-getty@ttyS0.service \
	systemd-logind.service systemd-hwdb-update.service ldconfig.service systemd-journal-catalog-update.service \
	systemd-update-done.service systemd-sysusers.service systemd-random-seed.service systemd-machine-id-commit.service \
	systemd-firstboot.service systemd-networkd.service systemd-networkd.socket systemd-networkd-wait-online.service \
	systemd-pstore.service systemd-binfmt.service proc-sys-fs-binfmt_misc.automount systemd-rfkill.socket \
	systemd-update-utmp.service systemd-update-utmp-runlevel.service systemd-backlight@.service \
	systemd-journal-flush.service dev-hugepages.mount systemd-tpm2-setup.service systemd-tpm2-setup-early.service \
	systemd-pcrphase.service systemd-pcrphase-sysinit.service systemd-pcrmachine.service \
	keyboard-setup.service console-setup.service ssh.socket sshd-keygen.service; do
	ln -sfn /dev/null "$root/etc/systemd/system/$unit"
done

ln -sfn /usr/lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"
mkdir -p "$root/etc/systemd/system-generators"
ln -sfn /dev/null "$root/etc/systemd/system-generators/systemd-ssh-generator"

# Root by key only, and only as fast as a key exchange is.
install -d -m 700 "$root/root/.ssh"
install -m 600 "$keep/id_ed25519.pub" "$root/root/.ssh/authorized_keys"
rm -f "$root"/etc/ssh/ssh_host_*
ssh-keygen -q -t ed25519 -N '' -C gaudi-node -f "$root/etc/ssh/ssh_host_ed25519_key"
awk '{ print "gaudi-node", $1, $2 }' "$root/etc/ssh/ssh_host_ed25519_key.pub" >"$keep/known_hosts"
cat >"$root/etc/ssh/sshd_config" <<-END
	HostKey /etc/ssh/ssh_host_ed25519_key
	PermitRootLogin prohibit-password
	PasswordAuthentication no
	UsePAM no
	UseDNS no
	PrintMotd no
	MaxSessions 64
	MaxStartups 64
	AcceptEnv LANG
	Subsystem sftp internal-sftp
END

# A certificate for the kubelet's own port: making an RSA one at each boot takes long.
install -d -m 700 "$root/etc/kubernetes/pki"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj /CN=gaudi-node \
	-keyout "$root/etc/kubernetes/pki/kubelet.key" -out "$root/etc/kubernetes/pki/kubelet.crt" 2>/dev/null
