/*
 * Registration of a copytool and the receipt of action lists.
 */
#include "lib.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct hsm_copytool_private *copytools; /* those registered; read by the signal handler */
static pthread_mutex_t copytools_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction old_segv;
static bool handler_installed;

/*
 * A read of the receive buffer after the next recv: with the real library it gives another list's bytes, in
 * silence. Here the old buffer is unreadable, and the process ends with a sentence that says why.
 */
static void on_segv(int number, siginfo_t *info, void *context)
{
	static struct sim_violation call = { .text = "receive buffer used after the next recv" };
	static const char text[] = "liblustreapi (simulated): VIOLATION: receive buffer used after the next recv\n";
	const char *address = info->si_addr;

	for (struct hsm_copytool_private *ct = copytools; ct; ct = ct->next)
		for (int i = 0; i < 2; i++)
			if (address >= ct->buffers[i] && address < ct->buffers[i] + SIM_RECEIVE_MAX) {
				if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0 ||
				    ioctl(ct->mnt_fd, SIM_IOC_VIOLATION, &call) < 0)
					_exit(134);
				abort();
			}
	if (old_segv.sa_flags & SA_SIGINFO)
		old_segv.sa_sigaction(number, info, context);
	else
		sigaction(SIGSEGV, &old_segv, NULL); /* the fault happens again, and takes its course */
}

static void remember(struct hsm_copytool_private *ct)
{
	pthread_mutex_lock(&copytools_lock);
	ct->next = copytools;
	copytools = ct;
	if (!handler_installed) {
		struct sigaction action = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK };

		handler_installed = sigaction(SIGSEGV, &action, &old_segv) == 0;
	}
	pthread_mutex_unlock(&copytools_lock);
}

static void forget(struct hsm_copytool_private *ct)
{
	struct hsm_copytool_private **at = &copytools;

	pthread_mutex_lock(&copytools_lock);
	while (*at && *at != ct)
		at = &(*at)->next;
	if (*at)
		*at = ct->next;
	pthread_mutex_unlock(&copytools_lock);
}

int any_mnt_fd(void)
{
	int fd;

	pthread_mutex_lock(&copytools_lock);
	fd = copytools ? copytools->mnt_fd : -1;
	pthread_mutex_unlock(&copytools_lock);
	return fd;
}

static void dispose(struct hsm_copytool_private *ct)
{
	if (ct->mnt_fd >= 0)
		close(ct->mnt_fd);
	if (ct->pipe_fd >= 0)
		close(ct->pipe_fd);
	for (int i = 0; i < 2; i++)
		if (ct->buffers[i] && ct->buffers[i] != MAP_FAILED)
			munmap(ct->buffers[i], SIM_RECEIVE_MAX);
	if (ct->faults)
		munmap((void *)(uintptr_t)ct->faults, 4096);
	free(ct->mnt);
	ct->magic = 0;
	free(ct);
}

/* Sends the line and the pipe's write end; reads the registration's number. */
static int send_registration(const char *socket_path, const char *line, int write_end, uint64_t *registration)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = { 0 };
	struct iovec iov = { (char *)(uintptr_t)line, strlen(line) };
	struct msghdr message = { .msg_iov = &iov,
				  .msg_iovlen = 1,
				  .msg_control = control,
				  .msg_controllen = sizeof(control) };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	char answer[128];
	size_t got = 0;
	ssize_t step;
	int error = EPROTO, offset = 0, size;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &write_end, sizeof(int));
	memcpy(address.sun_path, socket_path, sizeof(address.sun_path));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || sendmsg(fd, &message, MSG_NOSIGNAL) < 0) {
		error = errno;
		close(fd);
		return -error;
	}
	shutdown(fd, SHUT_WR);
	while (got < sizeof(answer) - 1 && (step = read(fd, answer + got, sizeof(answer) - 1 - got)) > 0)
		got += (size_t)step;
	answer[got] = '\0';
	close(fd);
	if (sscanf(answer, "%d %d%n", &error, &size, &offset) != 2)
		return -EPROTO;
	*registration = strtoull(answer + offset, NULL, 10);
	return -error;
}

static int register_pipe(struct hsm_copytool_private *ct, int archive_count, const int *archives, int flags)
{
	struct sim_info info = { 0 };
	char *line;
	size_t used;
	int pipe_fds[2], flags_fd, rc;
	struct stat st;

	if (fstatat(ct->mnt_fd, ".lustre/fid", &st, 0) != 0)
		return -errno;
	rc = sim_ioctl(ct->mnt_fd, SIM_IOC_INFO, &info);
	if (rc)
		return rc;
	flags_fd = open(info.flags_path, O_RDONLY | O_CLOEXEC);
	if (flags_fd < 0)
		return -errno;
	ct->faults = mmap(NULL, 4096, PROT_READ, MAP_SHARED, flags_fd, 0);
	close(flags_fd);
	if (ct->faults == MAP_FAILED) {
		ct->faults = NULL;
		return -ENOMEM;
	}
	if (pipe(pipe_fds) != 0) /* as on a real system, not close-on-exec */
		return -errno;
	ct->pipe_fd = pipe_fds[0];
	if (flags & O_NONBLOCK)
		fcntl(ct->pipe_fd, F_SETFL, O_NONBLOCK);
	line = malloc(64 + (size_t)archive_count * 12);
	if (!line) {
		close(pipe_fds[1]);
		return -ENOMEM;
	}
	used = (size_t)sprintf(line, "register %u", info.mount_index);
	for (int i = 0; i < archive_count; i++)
		used += (size_t)sprintf(line + used, " %d", archives[i]);
	strcpy(line + used, "\n");
	rc = send_registration(info.socket_path, line, pipe_fds[1], &ct->registration);
	free(line);
	close(pipe_fds[1]);
	return rc;
}

int llapi_hsm_copytool_register(struct hsm_copytool_private **priv, const char *mnt, int archive_count,
				int *archives, int rfd_flags)
{
	struct hsm_copytool_private *ct;
	int rc = 0;

	if (!priv || !mnt || archive_count < 0 || (archive_count > 0 && !archives))
		return -EINVAL;
	for (int i = 0; i < archive_count; i++)
		if (archives[i] < 0)
			return -EINVAL;
	ct = calloc(1, sizeof(*ct));
	if (!ct)
		return -ENOMEM;
	ct->magic = COPYTOOL_MAGIC;
	ct->pipe_fd = -1;
	ct->mnt = strdup(mnt);
	ct->mnt_fd = open(mnt, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (ct->mnt_fd < 0)
		rc = -errno;
	for (int i = 0; i < 2 && rc == 0; i++) {
		ct->buffers[i] = mmap(NULL, SIM_RECEIVE_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				      -1, 0);
		if (ct->buffers[i] == MAP_FAILED)
			rc = -ENOMEM;
	}
	if (rc == 0)
		rc = register_pipe(ct, archive_count, archives, rfd_flags);
	if (rc) {
		log_error(rc, "cannot register a copytool on '%s'", mnt);
		dispose(ct);
		return rc;
	}
	remember(ct);
	*priv = ct;
	return 0;
}

int llapi_hsm_copytool_unregister(struct hsm_copytool_private **priv)
{
	struct sim_unregister call = { 0 };
	struct hsm_copytool_private *ct;

	if (!priv || !*priv || (*priv)->magic != COPYTOOL_MAGIC)
		return -EINVAL;
	ct = *priv;
	copytool_leaves(ct);
	call.call.registration = ct->registration;
	sim_ioctl(ct->mnt_fd, SIM_IOC_UNREGISTER, &call);
	forget(ct);
	dispose(ct);
	*priv = NULL;
	return 0;
}

int llapi_hsm_copytool_get_fd(struct hsm_copytool_private *ct)
{
	if (!ct || ct->magic != COPYTOOL_MAGIC)
		return -EINVAL;
	return ct->pipe_fd;
}

int local_fault(const struct hsm_copytool_private *ct, const char *name, const struct lu_fid *fid,
		unsigned action)
{
	struct sim_fault_call call = { 0 };

	if (*ct->faults == 0)
		return 0;
	strncpy(call.name, name, sizeof(call.name) - 1);
	if (fid)
		call.fid = *fid;
	call.action = action;
	return sim_ioctl(ct->mnt_fd, SIM_IOC_FAULT, &call);
}

/* Reads `size` bytes of a message that has begun: they are on their way. */
static int read_rest(int fd, char *out, size_t size)
{
	while (size) {
		ssize_t got = read(fd, out, size);

		if (got == 0)
			return -ESHUTDOWN;
		if (got < 0 && errno == EAGAIN) {
			struct pollfd wait = { .fd = fd, .events = POLLIN };

			poll(&wait, 1, -1);
			continue;
		}
		if (got < 0 && errno != EINTR)
			return -errno;
		if (got > 0) {
			out += got;
			size -= (size_t)got;
		}
	}
	return 0;
}

int llapi_hsm_copytool_recv(struct hsm_copytool_private *ct, struct hsm_action_list **hal, int *msgsize)
{
	char *buffer;
	ssize_t got;
	int rc;

	if (!ct || ct->magic != COPYTOOL_MAGIC || !hal || !msgsize)
		return -EINVAL;
	rc = local_fault(ct, "recv", NULL, 0);
	if (rc)
		return rc;
	got = read(ct->pipe_fd, (char *)&ct->header + ct->header_got, sizeof(ct->header) - ct->header_got);
	if (got <= 0)
		return got == 0 ? -ESHUTDOWN : -errno;
	ct->header_got += (size_t)got;
	rc = read_rest(ct->pipe_fd, (char *)&ct->header + ct->header_got, sizeof(ct->header) - ct->header_got);
	ct->header_got = 0;
	if (rc)
		return rc;
	if (ct->header.magic != SIM_PIPE_MAGIC || ct->header.length > SIM_RECEIVE_MAX)
		return -EPROTO;
	if (ct->header.type == SIM_MESSAGE_SHUTDOWN)
		return -ESHUTDOWN;
	mprotect(ct->buffers[ct->current], SIM_RECEIVE_MAX, PROT_NONE);
	ct->current ^= 1;
	buffer = ct->buffers[ct->current];
	mprotect(buffer, SIM_RECEIVE_MAX, PROT_READ | PROT_WRITE);
	rc = read_rest(ct->pipe_fd, buffer, ct->header.length);
	if (rc)
		return rc;
	*hal = (struct hsm_action_list *)buffer;
	*msgsize = (int)ct->header.length;
	return 0;
}
