/*
 * What the parts of the simulator's liblustreapi share.
 */
#ifndef LUSTRE_SIM_LIB_H
#define LUSTRE_SIM_LIB_H

#include "../sim-proto.h"
#include <stddef.h>

/* Only llapi_* is seen from outside. */
#pragma GCC visibility push(hidden)

/* log.c */
void log_error(int rc, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* call.c */
int sim_ioctl(int fd, unsigned long command, void *argument); /* 0 or -errno; sleeps injected delays */
int open_directory_of(const char *path);                      /* the path, or the directory it is in */
void report_violation(int mnt_fd, const char *format, ...) __attribute__((format(printf, 2, 3)));

struct hsm_copytool_private {
	unsigned magic;
	int mnt_fd;
	int pipe_fd;
	char *mnt;
	uint64_t registration;
	const volatile uint32_t *faults; /* not 0: ask before a call that does not reach the simulator anyway */
	/* Two mappings take turns, and the last one is made unreadable: whoever still reads it is caught. */
	char *buffers[2];
	unsigned current;
	struct sim_message_header header;
	size_t header_got;
	struct hsm_copytool_private *next;
};
#define COPYTOOL_MAGIC 0x43544f4fu

int local_fault(const struct hsm_copytool_private *ct, const char *name, const struct lu_fid *fid,
		unsigned action);
/* action.c: complains of descriptors still open; handles of this tool are void from now on. */
void copytool_leaves(const struct hsm_copytool_private *ct);
int any_mnt_fd(void); /* copytool.c: of some registered tool, to report to; -1 */

#pragma GCC visibility pop

#endif
