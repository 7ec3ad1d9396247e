/* SPDX-License-Identifier: Apache-2.0 */
#ifndef P2P_COPY_EVENTS_H
#define P2P_COPY_EVENTS_H

/*
 * Prints every change of state of every Gaudi of the node, as the driver
 * announces it, one line each: "SECONDS accelN STATE", seconds of the
 * monotonic clock. With probe, tries to open a Gaudi that drains (without
 * waiting) and appends "open=ERRNO". Also "SECONDS uverbsN add|remove": a move
 * of an RDMA device between namespaces is one of each. Runs until killed.
 */
int events_run(int probe);

#endif
