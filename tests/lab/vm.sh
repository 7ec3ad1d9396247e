# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The driver tests: everything is built here, tests/vm/run.py boots and judges.

# cmd_vm [--debug] [TEST...]
cmd_vm() {
	local debug=
	if [ "${1:-}" = --debug ]; then
		debug=1
		shift
	fi
	[ -z "$debug" ] || die "DEBUG=1 comes with a later version: the debug kernel is not built yet; run make vm without it"
	cmd_modules
	exec "$LAB_ROOT/tests/vm/run.py" "$@"
}
