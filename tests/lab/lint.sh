# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the kernel's own tools say about our kernel code: checkpatch, sparse, and the compiler with W=1. Every word of
# theirs is a finding.

# Folders with a Kbuild file that are checked by sparse and W=1.
LINT_MODULES="driver tests/vm/modules"

# The width is the one that our kernel code and its comments are wrapped to.
LINT_CHECKPATCH="--no-tree --strict --terse --show-types --no-summary --max-line-length=120"

# Findings of checkpatch that are wrong for us: file (a pattern), types, reason.
LINT_WRONG="
driver/gaudi_sysfs.c STATIC_CONST_CHAR_ARRAY kobject_uevent_env() takes a char *[] that is not const
driver/gaudi_trace.h PARENTHESIS_ALIGNMENT|OPEN_ENDED_LINE TRACE_EVENT is laid out like this throughout the kernel
driver/uapi/gaudi_p2p.h CAMELCASE|COMPLEX_MACRO _Static_assert is a word of C, and no expression
driver/gaudi_state.[ch] MACRO_ARG_UNUSED|MACRO_ARG_REUSE|COMPLEX_MACRO the table is a list of macro calls; a reader takes what it needs
driver/gaudi_kunit.h MACRO_ARG_REUSE|COMPLEX_MACRO the lists of cases are lists of macro calls too
driver/gaudi_kunit_exports.c EXPORT_SYMBOL in one file, so that a kernel without KUNIT is not told about them at all
driver/gaudi_trace.h PARENTHESIS_ALIGNMENT|OPEN_ENDED_LINE the layout of TRACE_EVENT is the one of include/trace/events
driver/uapi/gaudi_p2p.h CAMELCASE _Static_assert is the one name that user space has without another header
driver/gaudi_state.c TRAILING_SEMICOLON|SPACING|BRACKET_SPACE a reader of the table is any part of a declaration or a switch
"

# sparse 0.6.4 does not know __typeof_unqual__, and does not compute the length of a literal, which MODULE_INFO asserts.
LINT_SPARSE="-D__typeof_unqual__=__typeof__ '-D__builtin_strlen(s)=(sizeof(s)-1)'"

lint_checkpatch_path() {
	printf '%s/checkpatch-%s\n' "$LAB_CACHE" "$(newest_kernel)"
}

lint_checkpatch_fetch() {
	linux_source_fetch "$1" scripts/checkpatch.pl scripts/spelling.txt scripts/const_structs.checkpatch &&
		mv "$1"/linux-source-*/scripts/* "$1/" && rm -r "$1"/linux-source-*
}

lint_checkpatch_ready() {
	local target tmp
	target=$(lint_checkpatch_path)
	[ ! -d "$target" ] || return 0
	cache_lock checkpatch
	if [ ! -d "$target" ]; then
		tmp=$target.tmp
		rm -rf --one-file-system -- "$tmp"
		mkdir -p "$tmp"
		stage "checkpatch of linux-source" lint_checkpatch_fetch "$tmp" ||
			die "the package linux-source could not be had: check the mirror $(debian_mirror) and run this again"
		mv -T -- "$tmp" "$target"
	fi
	cache_unlock
}

# Findings of checkpatch on standard output.
lint_checkpatch() {
	local files
	mapfile -t files < <(cd "$LAB_ROOT" && git ls-files 'driver/*.[ch]' 'tests/vm/modules/*.[ch]' 'tests/lab/soft-roce/kernel/*.[ch]')
	# shellcheck disable=SC2086 # a list of words
	{
		cd "$LAB_ROOT" || exit
		# Its exit status is that of its findings, the wrong ones too.
		printf '%s\n' "${files[@]}" |
			xargs -P "$(nproc)" -n 4 perl "$(lint_checkpatch_path)/checkpatch.pl" $LINT_CHECKPATCH --file || true
		# Its notes on names in CamelCase.
		rm -f .checkpatch-camelcase.*
	} |
		awk -v wrong="$LINT_WRONG" 'BEGIN { n = split(wrong, line, "\n") }
			{ for (i = 1; i <= n; i++)
				if (split(line[i], w, " ") > 2 && match($0, "^" w[1] ":[0-9]+: [A-Z]+:(" w[2] "):")) next }
			NF'
}

# lint_module SOURCE KERNEL: compiles anew, because the compiler is silent about objects that it made before.
lint_module() {
	local out=$LAB_ROOT/build/lint/$2/$1
	rm -rf -- "$out"
	mkdir -p "$out"
	# Debian's headers lack scripts/checker-valid.sh, without which C=2 turns itself off: say what it would set.
	in_buildroot make -C "/lib/modules/$2/build" "M=$LAB_ROOT/$1" "MO=$out" -j2 W=1 KBUILD_CHECKSRC=2 CF="$LINT_SPARSE" modules
}

cmd_lint() {
	local kernel module log bad=0
	buildroot_ready
	lint_checkpatch_ready
	mkdir -p "$LAB_ROOT/build/lint"
	log=$LAB_ROOT/build/lint/checkpatch.log
	lint_checkpatch >"$log"
	if [ -s "$log" ]; then
		cat "$log"
		bad=1
	fi
	for kernel in $(kernel_versions); do
		for module in $LINT_MODULES; do
			log=$LAB_ROOT/build/lint/${module//\//-}-$kernel.log
			if ! lint_module "$module" "$kernel" >"$log" 2>&1; then
				tail -n 15 "$log" >&2
				die "$module does not compile against $kernel: the whole log is $log"
			fi
			# A check that did not run finds nothing either.
			grep -q '^ *CHECK ' "$log" || die "sparse did not run on $module for $kernel: see $log"
			if grep -E ': (warning|error):' "$log"; then
				bad=1
			fi
		done
	done
	[ $bad = 0 ] || die "the lines above are findings of checkpatch, sparse or W=1; build/lint has the logs"
	say "checkpatch, sparse and W=1 have nothing to say about $LINT_MODULES on $(kernel_versions | xargs)"
}
