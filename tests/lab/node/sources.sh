# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The lab's shell files, for the programs in this folder.
node_lab=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# shellcheck source=tests/lab/common.sh
. "$node_lab/common.sh"
# shellcheck source=tests/lab/buildroot.sh
. "$LAB_DIR/buildroot.sh"
# shellcheck source=tests/lab/in-buildroot.sh
. "$LAB_DIR/in-buildroot.sh"
# shellcheck source=tests/lab/build.sh
. "$LAB_DIR/build.sh"
# shellcheck source=tests/lab/node/images.sh
. "$LAB_DIR/node/images.sh"
# shellcheck source=tests/lab/node/base.sh
. "$LAB_DIR/node/base.sh"
# shellcheck source=tests/lab/node/node.sh
. "$LAB_DIR/node/node.sh"
