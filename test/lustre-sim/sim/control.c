/*
 * The control socket: lctl, the tests' harness and the library's register come this way. A request is one line,
 *   get NAME | set NAME=VALUE | wait MILLISECONDS CONDITION | inject MOUNT SIZE | register MOUNT ARCHIVE…
 * (inject is followed by the bytes; with register comes the write end of a pipe). The answer is
 * "ERRNO SIZE\n" and so many bytes. One thread a connection.
 */
#include "sim.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define LINE_MAX_BYTES 65536

struct connection {
	int fd;
	int passed_fd; /* the last one that came along, -1 */
	char *data;
	size_t length;
};

static bool receive(struct connection *c)
{
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
	struct iovec iov = { c->data + c->length, LINE_MAX_BYTES - c->length };
	struct msghdr message = { .msg_iov = &iov,
				  .msg_iovlen = 1,
				  .msg_control = control,
				  .msg_controllen = sizeof(control) };
	ssize_t got = recvmsg(c->fd, &message, MSG_CMSG_CLOEXEC);
	struct cmsghdr *header = got > 0 ? CMSG_FIRSTHDR(&message) : NULL;

	if (got <= 0)
		return false;
	if (header && header->cmsg_type == SCM_RIGHTS) {
		if (c->passed_fd >= 0)
			close(c->passed_fd);
		memcpy(&c->passed_fd, CMSG_DATA(header), sizeof(int));
	}
	c->length += (size_t)got;
	return true;
}

static void consume(struct connection *c, size_t size)
{
	memmove(c->data, c->data + size, c->length - size);
	c->length -= size;
}

/* The next line, without its end. NULL: the other side is gone, or talks nonsense. */
static char *next_line(struct connection *c)
{
	char *end, *line;

	while (!(end = memchr(c->data, '\n', c->length)))
		if (c->length == LINE_MAX_BYTES || !receive(c))
			return NULL;
	*end = '\0';
	line = xdup(c->data);
	consume(c, (size_t)(end - c->data) + 1);
	return line;
}

static bool next_bytes(struct connection *c, char *out, size_t size)
{
	while (size) {
		size_t step = size < c->length ? size : c->length;

		memcpy(out, c->data, step);
		consume(c, step);
		out += step;
		size -= step;
		if (size && !receive(c))
			return false;
	}
	return true;
}

static bool send_all(int fd, const char *data, size_t size)
{
	while (size) {
		ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);

		if (sent <= 0)
			return false;
		data += sent;
		size -= (size_t)sent;
	}
	return true;
}

static int do_wait(const char *arguments, struct text *out)
{
	const char *condition = strchr(arguments, ' ');
	double until = now_s() + atof(arguments) / 1000;
	bool valid = condition != NULL, met = false;

	lock();
	while (valid) {
		met = condition_met(condition + 1, &valid);
		if (!valid || met || now_s() >= until)
			break;
		wait_event(until);
	}
	unlock();
	if (!valid)
		text_add(out, "not a condition: %s", arguments);
	return !valid ? -EINVAL : met ? 0 : -ETIMEDOUT;
}

static int do_inject(struct connection *c, const char *arguments)
{
	unsigned mount;
	size_t size;
	char *list;
	int rc = -ENXIO;

	if (sscanf(arguments, "%u %zu", &mount, &size) != 2 || mount >= sim.mount_count || size > SIM_RECEIVE_MAX)
		return -EINVAL;
	list = xalloc(size);
	if (!next_bytes(c, list, size)) {
		free(list);
		return -EPIPE;
	}
	lock();
	if (sim.mounts[mount].pipes) {
		agent_send(&sim.mounts[mount], list, size);
		rc = 0;
	}
	unlock();
	free(list);
	return rc;
}

static int do_register(struct connection *c, char *arguments, struct text *out)
{
	char *word, *rest = arguments;
	uint32_t *archives = xalloc((strlen(arguments) + 1) * sizeof(*archives)), delay_ms = 0;
	uint64_t registration = 0;
	int count = 0, rc = -EINVAL;
	unsigned mount = MOUNTS_MAX;

	if ((word = strtok_r(rest, " ", &rest)))
		mount = (unsigned)strtoul(word, NULL, 10);
	while ((word = strtok_r(rest, " ", &rest)))
		archives[count++] = (uint32_t)strtoul(word, NULL, 10);
	if (mount < sim.mount_count && c->passed_fd >= 0) {
		lock();
		rc = -fault_check("register", NULL, 0, &delay_ms);
		unlock();
		usleep(delay_ms * 1000);
		lock();
		if (!rc)
			rc = agent_register(mount, c->passed_fd, archives, count, &registration);
		unlock();
	}
	if (rc == 0) {
		c->passed_fd = -1;
		text_add(out, "%llu", (unsigned long long)registration);
	}
	free(archives);
	return rc;
}

static int dispatch(struct connection *c, char *line, struct text *out)
{
	char *arguments = strchr(line, ' '), *value;

	if (!arguments)
		return -EINVAL;
	*arguments++ = '\0';
	if (strcmp(line, "get") == 0)
		return param_get(arguments, out);
	if (strcmp(line, "set") == 0) {
		value = strchr(arguments, '=');
		if (!value)
			return -EINVAL;
		*value++ = '\0';
		return param_set(arguments, value, out);
	}
	if (strcmp(line, "wait") == 0)
		return do_wait(arguments, out);
	if (strcmp(line, "inject") == 0)
		return do_inject(c, arguments);
	if (strcmp(line, "register") == 0)
		return do_register(c, arguments, out);
	return -EINVAL;
}

static void *serve(void *argument)
{
	struct connection *c = argument;
	char *line, head[64];
	bool alive = true;

	while (alive && (line = next_line(c))) {
		struct text out = { 0 };
		int rc = dispatch(c, line, &out);
		int length = snprintf(head, sizeof(head), "%d %zu\n", -rc, out.length);

		alive = send_all(c->fd, head, (size_t)length) && send_all(c->fd, out.data, out.length);
		text_free(&out);
		free(line);
	}
	if (c->passed_fd >= 0)
		close(c->passed_fd);
	close(c->fd);
	free(c->data);
	free(c);
	return NULL;
}

static void *accept_all(void *argument)
{
	int listener = (int)(intptr_t)argument, fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		struct connection *c = xalloc(sizeof(*c));
		pthread_t thread;

		c->fd = fd;
		c->passed_fd = -1;
		c->data = xalloc(LINE_MAX_BYTES);
		if (pthread_create(&thread, NULL, serve, c) == 0)
			pthread_detach(thread);
	}
	return NULL;
}

void control_start(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pthread_t thread;

	memcpy(address.sun_path, sim.socket_path, sizeof(address.sun_path));
	if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
	    chmod(sim.socket_path, 0600) != 0 || listen(listener, 64) != 0) {
		perror(sim.socket_path);
		exit(1);
	}
	pthread_create(&thread, NULL, accept_all, (void *)(intptr_t)listener);
	pthread_detach(thread);
}
