/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Named places where a test build (-DCNI_RDMA_FAULTS) can be told to fail or
 * to die, by CNI_RDMA_FAULT=STEP or STEP:kill. In every other build the
 * environment is not looked at and nothing happens.
 */
#ifndef CNI_RDMA_FAULT_H
#define CNI_RDMA_FAULT_H

/* 0, or -EIO when the test wants this step to fail. */
int fault_point(const char *step);

#endif
