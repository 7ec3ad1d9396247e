/* SPDX-License-Identifier: Apache-2.0 */
/* The emulated cards and the peer that does DMA, as the driver tests use them. */
#ifndef VM_CARD_H
#define VM_CARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <edu_peer.h>

/* Granule of device memory, as INFO reports it for the emulated card. */
#define CARD_PAGE (64u << 10)

/* --- where a card is ------------------------------------------------------ */
/* N of /dev/accel/accelN of a card (0, 1), waiting a while for it to appear; -ENODEV. */
int card_index(unsigned int card);
/* Whether its node is there now. */
bool card_is_there(unsigned int card);
/* PCI address of a card that is plugged in. */
void card_pci(unsigned int card, char *buffer, size_t size);
/* Reads an attribute of the card's device into @buffer. Length or -errno. */
int card_attribute(unsigned int card, const char *name, char *buffer, size_t size);
bool card_state_is(unsigned int card, const char *state);
bool card_attribute_is(unsigned int card, const char *name, const char *value);

/* --- what root does to a card: 0 or -errno --------------------------------- */
/* Binds the card at that PCI address to gaudi_p2p, or unbinds it. */
int card_bind(const char *pci, bool bind);
int card_reset(unsigned int card);
/* Whether the card answers to accesses to its memory; a failure fails the test. */
void card_decode(unsigned int card, bool on);

/* --- an opener: 0, a value, or -errno; nothing fails the test by itself --- */
/* Waits a while for the card and its node to appear; -ENODEV when they do not. */
int card_open(unsigned int card, int flags);
int card_open_control(unsigned int card);
int card_info(int fd, uint32_t op, void *answer, uint32_t size);
int card_alloc(int fd, uint64_t size, uint32_t flags, uint64_t *ret_handle);
int card_free(int fd, uint64_t handle);
int card_map(int fd, uint64_t handle, uint64_t *ret_va);
int card_unmap(int fd, uint64_t va);
int card_export(int fd, uint64_t va, uint64_t offset, uint64_t size);
int card_revoke_all(int fd);
/* All at once, waiting at most so long. How many are still held, or -errno. */
int card_revoke_wait(int fd, uint32_t timeout_ms);
/* For the pod of a process. card_take_back: how many of its importers still hold. */
int card_grant(int fd, int dmabuf, int pidfd);
int card_take_back(int fd, int dmabuf, int pidfd);
/* How many entries there are; the first @room of them are written. */
struct gaudi_p2p_export;
int card_list(int fd, struct gaudi_p2p_export *entries, uint32_t room);

/*
 * Leaves half of the card's memory free in pieces of that size (a power of two) with no two of them side by side, and
 * allocated what is between them. Returns the number of free pieces; a failure fails the test.
 */
unsigned int card_fragment(int fd, uint64_t piece);

/* Open, allocate, map, export in one go; a failure fails the test. */
struct card_buffer {
	int fd; /* of the accel node */
	int dmabuf;
	uint64_t handle;
	uint64_t va;
	uint64_t size;
};
void card_buffer_make(struct card_buffer *buffer, unsigned int card, uint64_t size);

/* --- the peer (edu): 0 or -errno ----------------------------------------- */
int peer_open(void);
/* PCI address of the peer's device, while it is bound; binds and unbinds it. */
void peer_pci(char *buffer, size_t size);
int peer_bind(const char *pci, bool bind);
int peer_attach(int peer, int dmabuf, uint32_t kind, uint32_t delay_ms);
/* That many attachments, which are then mapped, unmapped and detached together. */
int peer_attach_many(int peer, int dmabuf, uint32_t kind, uint32_t delay_ms, uint32_t count);
int peer_map(int peer);
int peer_unmap(int peer);
int peer_detach(int peer);
/* Sits on the dma-resv for so long; returns after. */
int peer_sit(int peer, uint32_t ms);
/* The work that EDU_PEER_FENCE announced is done. */
int peer_signal(int peer);
/* DMA to and from the last address that was mapped. */
int peer_write(int peer, uint64_t offset, const void *data, uint32_t len);
int peer_read(int peer, uint64_t offset, void *data, uint32_t len);
void peer_state(int peer, struct edu_peer_state *state);
/* From here to its end the test must see the IOMMU stop a DMA of the peer. */
void peer_expect_fault(void);
/*
 * How often the IOMMU has complained since boot, by its interrupts: the kernel log has two or three faults in five seconds
 * and is quiet about more.
 */
unsigned long iommu_faults(void);
/* A peer with a mapping; a failure fails the test. */
int peer_of(int dmabuf, uint32_t kind, uint32_t delay_ms);

/* Whether an access to the byte raises SIGBUS. */
bool raises_sigbus(volatile uint8_t *byte);

#endif
