/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What holds on whichever way a NIC takes into a pod: a Soft-RoCE link's (node_begin()) and a card's
 * (node_begin_cards()). Each leaves the node as it found it.
 */
#ifndef CNI_WAY_H
#define CNI_WAY_H

/* Two pods have a NIC each, which no other gets, and they come back in either order. */
void way_goes_in_and_comes_back(void);

/* ADD fails at each of the steps, up to a NULL: nothing has happened. Then it goes well. */
void way_fails_anywhere(const char *const steps[]);

/* ADD is killed at each of them: the next call, an ADD or a DEL, repairs it. */
void way_killed_anywhere(const char *const steps[]);

/* DEL fails at each of the steps, or is killed there: the next DEL does the rest. */
void way_back_stops_anywhere(const char *const steps[]);

/* DEL finds a record that is cut off: it takes out what the pairing file knows. */
void way_without_a_readable_record(void);

/* Two pods' namespaces are gone when DEL comes. */
void way_namespaces_died(void);

/* Only a process has the namespace when DEL comes, its path is gone. */
void way_namespace_held_by_a_process(void);

/* The second NIC goes in under its number and comes back, though a lower number is free. */
void way_keeps_its_number(void);

/*
 * hold, whose argument is a socket, is a process of the pod: it registers a region, sends the device's file, awaits a
 * signal, which comes after DEL, looks that it is cut off, and signals. Whoever has got the file still has it when the
 * next pod has the NIC. regions, unless NULL, tells how many the driver has.
 */
void way_ends_regions(void (*hold)(void *arg), int (*regions)(void));

#endif
