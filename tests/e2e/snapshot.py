# SPDX-License-Identifier: Apache-2.0
"""What a node is, as far as software on it could have changed it: to compare before and after.

    before = take(node)
    ...
    assert not difference(before, take(node))
"""

# What changes by itself: names of pods that run at that moment, of terminals, what the kernel measures, and the
# kubelet's own account of devices, which it writes when the first device plugin comes and keeps when the last is gone.
PASSING = ('/var/lib/cni/results/', '/var/lib/cni/networks/', '/dev/pts/', '/dev/shm/', '/sys/module/damon_stat/',
           '/device-plugins/kubelet_internal_checkpoint')
# "KIND NAME", a tab, and what it is like. %l: where a link leads.
SCRIPT = r'''
files() { find "$@" ! -type d -printf 'file %p\t%y %m %u:%g %l\n' -o -printf 'file %p/\t%y %m %u:%g\n' 2>/dev/null; }
files /etc /opt/cni /lib/modules/*/updates /usr/src /usr/local /var/lib/gaudi-p2p /var/lib/dkms /var/lib/cni /var/run/cdi /dev \
    /var/lib/kubelet/device-plugins /var/lib/kubelet/plugins_registry
files /lib/modules /var/lib /run -maxdepth 1
find /etc /opt/cni /lib/modules/*/modules.* -type f -exec sha256sum {} + | sed 's/^\([0-9a-f]*\)  \(.*\)/content \2\t\1/'
sed 's/^\([^ ]*\) .*/module \1\tloaded/' /proc/modules
grep -H . /sys/module/*/parameters/* 2>/dev/null | sed 's/:/\t/; s/^/parameter /'
cd /sys/class; for d in infiniband/* infiniband_verbs/uverbs* accel/*; do [ -e "$d" ] && echo "device $d	there"; done
grep -H . net/*/mtu net/*/flags | grep -v '^net/veth' | sed 's/:/\t/; s/^/device /'
rdma system | sed 's/^/rdma namespaces\t/'
systemctl list-units --all --no-legend --no-pager --plain --type=service,socket,timer | sed 's/^\([^ ]*\) *\([^ ]*\).*/unit \1\t\2/'
'''


def take(node):
    """{what: how it is}."""
    text = node.sh(SCRIPT, timeout=300)
    found = dict(line.split('\t', 1) for line in text.splitlines() if '\t' in line)
    return {what: like for what, like in found.items() if not any(part in what for part in PASSING)}


def difference(before, after):
    """One line for each thing that is not as it was."""
    return ['%s: was "%s", is "%s"' % (what, before.get(what, 'not there'), after.get(what, 'not there'))
            for what in sorted(set(before) | set(after)) if before.get(what) != after.get(what)]
