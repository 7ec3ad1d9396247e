/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every call of this library into the driver and into libibverbs. A test
 * defines all of these itself, and so the linker never takes edge.o out of the
 * archive: no indirection in the real library, no device in the tests.
 */
#ifndef P2P_EDGE_H
#define P2P_EDGE_H

#include <infiniband/verbs.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* As the system calls: -1 and errno. */
int p2p_edge_open(const char *path, int flags);
int p2p_edge_ioctl(int fd, unsigned long request, void *arg);
/* /proc/self/fdinfo/FD into buf, terminated. Its length or -errno. */
ssize_t p2p_edge_fdinfo(int fd, char *buf, size_t size);

/* As the libibverbs functions of these names. */
struct ibv_device **p2p_edge_get_device_list(int *ret_n);
void p2p_edge_free_device_list(struct ibv_device **list);
struct ibv_context *p2p_edge_open_device(struct ibv_device *device);
int p2p_edge_close_device(struct ibv_context *context);
struct ibv_pd *p2p_edge_alloc_pd(struct ibv_context *context);
int p2p_edge_dealloc_pd(struct ibv_pd *pd);
struct ibv_mr *p2p_edge_reg_dmabuf_mr(struct ibv_pd *pd, uint64_t offset, size_t length, uint64_t iova,
				      int fd, int access);
int p2p_edge_dereg_mr(struct ibv_mr *mr);
int p2p_edge_query_port(struct ibv_context *context, uint8_t port, struct ibv_port_attr *ret);
ssize_t p2p_edge_query_gid_table(struct ibv_context *context, struct ibv_gid_entry *entries, size_t max);

#endif
