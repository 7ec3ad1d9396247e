#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Hooks our files into unpacked sources of rdma_rxe or of librxe.

    hook.py kernel DIR VERSION      DIR holds drivers/infiniband/sw/rxe
    hook.py provider DIR VERSION    DIR holds rdma-core

Each hook names a file, a scope in it (a function or a struct; None: the whole
file) and an anchor: one line, compared with blanks squeezed. The anchor must
match exactly once in its scope, and the scope must exist once; otherwise
nothing is written and the error names what a maintainer has to mend.
"""

import re
import sys
from pathlib import Path
from typing import NamedTuple, Optional


class Hook(NamedTuple):
    file: str
    scope: Optional[str]
    where: str  # "before" or "after" the anchor
    anchor: str
    text: str


RXE = "drivers/infiniband/sw/rxe/"

KERNEL = [
    Hook(RXE + "rxe_verbs.h", "struct rxe_mr", "after", "struct ib_umem *umem;",
         "\tstruct rxe_dmabuf\t*dmabuf;"),
    Hook(RXE + "rxe_loc.h", None, "before", "#endif /* RXE_LOC_H */",
         '#include "rxe_dmabuf.h"\n'),
    Hook(RXE + "Makefile", None, "before",
         "rdma_rxe-$(CONFIG_INFINIBAND_ON_DEMAND_PAGING) += rxe_odp.o",
         "rdma_rxe-y += rxe_dmabuf.o"),
    Hook(RXE + "rxe_verbs.c", "rxe_dev_ops", "after", ".reg_user_mr = rxe_reg_user_mr,",
         "\t.reg_user_mr_dmabuf = rxe_reg_user_mr_dmabuf,"),
    # The core's check lets rights be widened when there is no umem.
    Hook(RXE + "rxe_verbs.c", "rxe_rereg_user_mr", "before",
         "if (flags & ~RXE_MR_REREG_SUPPORTED) {",
         "\tif (rxe_mr_is_dmabuf(mr))\n\t\treturn ERR_PTR(-EOPNOTSUPP);"),
    # Requester, completer and responder all copy here.
    Hook(RXE + "rxe_mr.c", "rxe_mr_copy", "before", "if (is_odp_mr(mr))",
         "\tif (rxe_mr_is_dmabuf(mr))\n\t\treturn rxe_dmabuf_copy(mr, iova, addr, length, dir);"),
    Hook(RXE + "rxe_mr.c", "rxe_flush_pmem_iova", "before", "if (is_odp_mr(mr))",
         "\tif (rxe_mr_is_dmabuf(mr))\n\t\treturn -EFAULT;"),
    Hook(RXE + "rxe_mr.c", "rxe_mr_cleanup", "before", "ib_umem_release(mr->umem);",
         "\trxe_dmabuf_release(mr);"),
    Hook(RXE + "rxe_resp.c", "atomic_reply", "before", "if (is_odp_mr(mr))",
         "\t\tif (rxe_mr_is_dmabuf(mr))\n"
         "\t\t\terr = rxe_dmabuf_atomic_op(mr, iova, pkt->opcode, atmeth_comp(pkt),\n"
         "\t\t\t\t\t\t   atmeth_swap_add(pkt), &res->atomic.orig_val);\n"
         "\t\telse"),
    Hook(RXE + "rxe_resp.c", "atomic_write_reply", "before", "if (is_odp_mr(mr))",
         "\tif (rxe_mr_is_dmabuf(mr))\n"
         "\t\terr = rxe_dmabuf_atomic_write(mr, iova, value);\n"
         "\telse"),
    # Prefetch is for on-demand paging; it would follow a NULL umem.
    Hook(RXE + "rxe_odp.c", "rxe_ib_prefetch_sg_list", "before",
         "if (advice == IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_WRITE &&",
         "\t\tif (!is_odp_mr(mr)) {\n\t\t\trxe_put(mr);\n\t\t\treturn -EINVAL;\n\t\t}"),
    Hook(RXE + "rxe_odp.c", "rxe_ib_advise_mr_prefetch", "before",
         "work->frags[i].io_virt = sg_list[i].addr;",
         "\t\tif (!is_odp_mr(mr)) {\n\t\t\trxe_put(mr);\n\t\t\tmr = ERR_PTR(-EINVAL);\n"
         "\t\t\tgoto err;\n\t\t}"),
    Hook(RXE + "rxe_qp.c", "rxe_qp_do_cleanup", "before", "if (qp->sq.queue)",
         "\trxe_dmabuf_forget_gsi(qp);"),
    Hook(RXE + "rxe_comp.c", "flush_send_wqe", "before", "err = rxe_cq_post(qp->scq, &cqe, 0);",
         "\trxe_dmabuf_flush_status(qp, wqe, &cqe);"),
]

PROVIDER = [
    Hook("providers/rxe/CMakeLists.txt", None, "before", "rxe.c", "  rxe_dmabuf_mr.c"),
    Hook("providers/rxe/rxe.c", None, "before", '#include "rxe.h"', '#include "rxe_dmabuf_mr.h"'),
    Hook("providers/rxe/rxe.c", None, "after", ".reg_mr = rxe_reg_mr,",
         "\t.reg_dmabuf_mr = rxe_reg_dmabuf_mr,"),
]

TABLES = {"kernel": ("Linux", KERNEL), "provider": ("rdma-core", PROVIDER)}


class HookError(Exception):
    pass


def squeeze(line):
    return " ".join(line.split())


def scope_lines(lines, scope):
    """Line numbers of a scope: from the line that opens it to the next closing brace in column 0."""
    if scope is None:
        return range(len(lines))
    head = re.compile(r"^(?:\w.*\b)?" + re.escape(scope) + r"\s*[(={]")
    found = []
    for i, line in enumerate(lines):
        if not head.match(line):
            continue
        opens = next((j for j in range(i, len(lines)) if "{" in lines[j] or ";" in lines[j]), None)
        # A prototype ends with a semicolon before any brace opens.
        if opens is None or "{" not in lines[opens]:
            continue
        end = next((j for j in range(opens, len(lines)) if lines[j].startswith("}")), None)
        if end is not None:
            found.append(range(i, end))
    if len(found) != 1:
        raise HookError(f"'{scope}' is defined {len(found)} times, expected once")
    return found[0]


def apply(lines, hook):
    span = scope_lines(lines, hook.scope)
    hits = [i for i in span if squeeze(lines[i]) == hook.anchor]
    if len(hits) != 1:
        where = f" in '{hook.scope}'" if hook.scope else ""
        raise HookError(f"anchor '{hook.anchor}'{where} matches {len(hits)} times, expected once")
    at = hits[0] + (hook.where == "after")
    lines[at:at] = hook.text.split("\n")


def main(argv):
    if len(argv) != 4 or argv[1] not in TABLES:
        print(__doc__, file=sys.stderr)
        return 2
    product, hooks = TABLES[argv[1]]
    root, version = Path(argv[2]), argv[3]
    files = {}
    for hook in hooks:
        try:
            if hook.file not in files:
                files[hook.file] = (root / hook.file).read_text(encoding="utf-8").split("\n")
            apply(files[hook.file], hook)
        except (HookError, OSError) as e:
            what = e.strerror if isinstance(e, OSError) else e
            print(f"hook.py: {product} {version}: {hook.file}: {what}.\n"
                  f"  Its source has changed; mend the table in {argv[0]}.", file=sys.stderr)
            return 1
    for name, lines in files.items():
        (root / name).write_text("\n".join(lines), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
