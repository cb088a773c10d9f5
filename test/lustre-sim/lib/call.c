/*
 * Calls to the simulator: ioctls on a descriptor of the mount.
 */
#include "lib.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

int sim_ioctl(int fd, unsigned long command, void *argument)
{
	struct sim_call *call = argument;

	if (ioctl(fd, command, argument) != 0)
		return -errno;
	if (call->delay_ms) {
		struct timespec pause = { call->delay_ms / 1000, (long)(call->delay_ms % 1000) * 1000000 };

		nanosleep(&pause, NULL);
		if (call->rc == 0) {
			call->delayed = 1;
			if (ioctl(fd, command, argument) != 0)
				return -errno;
		}
	}
	return call->rc;
}

int open_directory_of(const char *path)
{
	char parent[PATH_MAX];
	char *slash;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	if (errno != ENOTDIR || strlen(path) >= sizeof(parent))
		return -errno;
	strcpy(parent, path);
	slash = strrchr(parent, '/');
	if (!slash)
		strcpy(parent, ".");
	else if (slash == parent)
		slash[1] = '\0';
	else
		*slash = '\0';
	fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd >= 0 ? fd : -errno;
}

void report_violation(int mnt_fd, const char *format, ...)
{
	struct sim_violation call = { 0 };
	va_list args;

	va_start(args, format);
	vsnprintf(call.text, sizeof(call.text), format, args);
	va_end(args);
	fprintf(stderr, "liblustreapi (simulated): VIOLATION: %s\n", call.text);
	if (mnt_fd >= 0)
		sim_ioctl(mnt_fd, SIM_IOC_VIOLATION, &call);
}
