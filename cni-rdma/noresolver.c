// SPDX-License-Identifier: Apache-2.0
/*
 * The C library's lookups of names, which libnl refers to and this plugin never calls: they refuse.
 *
 * In a static program the C library's own would load the NSS modules and the resolver of whatever host it runs on,
 * code of another build of that library, as root; and 130 KiB of it would be in the program. The linker takes these
 * instead because LIBS_cni-rdma asks for getaddrinfo before libnl does (mk/parts.mk); that none of the C library's
 * slipped in is seen by --fatal-warnings in the Makefile, since the linker warns of each.
 */
#include <netdb.h>
#include <stddef.h>

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **ret)
{
	(void)node;
	(void)service;
	(void)hints;
	*ret = NULL;
	return EAI_FAIL;
}

void freeaddrinfo(struct addrinfo *list)
{
	(void)list;
}

const char *gai_strerror(int error)
{
	(void)error;
	return "this program looks up no names";
}

int getnameinfo(const struct sockaddr *address, socklen_t len, char *host, socklen_t host_len, char *service,
		socklen_t service_len, int flags)
{
	(void)address;
	(void)len;
	(void)host;
	(void)host_len;
	(void)service;
	(void)service_len;
	(void)flags;
	return EAI_FAIL;
}

struct protoent *getprotobyname(const char *name)
{
	(void)name;
	return NULL;
}

struct protoent *getprotobynumber(int proto)
{
	(void)proto;
	return NULL;
}
