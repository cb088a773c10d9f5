/*
 * Agents and their pipes. Two memories are kept apart, as on a real system: the node's (its pipes, whether it
 * registered) and the server's (the agent, by the node's UUID, with its archive ids). A list for an agent goes
 * into every pipe of its node.
 *
 * That a tool died shows in its pipe: with the last copy of the read end gone, the write end polls as EPOLLERR.
 */
#include "sim.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

static int epoll_fd, wake_fd;
static uint64_t next_registration = 1;
static uint64_t epochs[MOUNTS_MAX];
static unsigned turn;
static double register_again_at; /* 0: nothing to do */

uint64_t agent_epoch(unsigned mount)
{
	return epochs[mount];
}

static void agent_drop(struct mount *mount)
{
	if (!mount->agent)
		return;
	mount->agent = false;
	events_changed();
}

static void agent_add(struct mount *mount)
{
	if (mount->agent)
		return;
	mount->agent = true;
	mount->requests_current = mount->requests_ok = mount->requests_failed = 0;
	epochs[mount->index]++;
	coordinator_kick();
	events_changed();
}

static void pipe_free(struct pipe_end *pipe)
{
	struct pipe_end **slot = &sim.mounts[pipe->mount].pipes;

	while (*slot != pipe)
		slot = &(*slot)->next;
	*slot = pipe->next;
	close(pipe->fd); /* leaves the epoll set with it */
	free(pipe->queue);
	free(pipe);
}

/* Writes what the pipe has room for. false: the reader is gone. */
static bool pipe_flush(struct pipe_end *pipe)
{
	while (pipe->queue_length) {
		ssize_t written = write(pipe->fd, pipe->queue + pipe->queue_start, pipe->queue_length);

		if (written < 0)
			return errno == EAGAIN;
		pipe->queue_start += (size_t)written;
		pipe->queue_length -= (size_t)written;
	}
	pipe->queue_start = 0;
	return true;
}

static void pipe_watch(struct pipe_end *pipe)
{
	struct epoll_event event = { .events = pipe->queue_length ? EPOLLOUT : 0,
				     .data.u64 = pipe->registration };

	epoll_ctl(epoll_fd, EPOLL_CTL_MOD, pipe->fd, &event);
}

static void pipe_append(struct pipe_end *pipe, const void *data, size_t size)
{
	if (pipe->queue_start + pipe->queue_length + size > pipe->queue_room) {
		if (pipe->queue_length)
			memmove(pipe->queue, pipe->queue + pipe->queue_start, pipe->queue_length);
		pipe->queue_start = 0;
		if (pipe->queue_length + size > pipe->queue_room) {
			pipe->queue_room = (pipe->queue_length + size) * 2;
			pipe->queue = xgrow(pipe->queue, pipe->queue_room);
		}
	}
	memcpy(pipe->queue + pipe->queue_start + pipe->queue_length, data, size);
	pipe->queue_length += size;
}

static void pipe_send(struct pipe_end *pipe, enum sim_message_type type, const void *data, size_t size)
{
	struct sim_message_header header = { SIM_PIPE_MAGIC, type, (uint32_t)size, 0 };

	pipe_append(pipe, &header, sizeof(header));
	if (size)
		pipe_append(pipe, data, size);
	pipe_flush(pipe); /* a dead reader shows in the epoll set */
	pipe_watch(pipe);
}

/* The tool behind it reads -ESHUTDOWN, from now on and for ever. */
static void pipe_shut_down(struct pipe_end *pipe)
{
	pipe_send(pipe, SIM_MESSAGE_SHUTDOWN, NULL, 0);
	pipe->shutting_down = true;
	if (!pipe->queue_length)
		pipe_free(pipe);
}

void agent_send(struct mount *mount, const void *list, size_t size)
{
	for (struct pipe_end *pipe = mount->pipes; pipe; pipe = pipe->next)
		if (!pipe->shutting_down)
			pipe_send(pipe, SIM_MESSAGE_LIST, list, size);
}

static void shut_down_pipes(struct mount *mount)
{
	struct pipe_end *pipe, *next;

	for (pipe = mount->pipes; pipe; pipe = next) {
		next = pipe->next;
		if (!pipe->shutting_down)
			pipe_shut_down(pipe);
	}
}

/* A tool died, or a tool that had been told to shut down has read it. */
static void pipe_dead(struct pipe_end *pipe)
{
	struct mount *mount = &sim.mounts[pipe->mount];
	bool was_shut_down = pipe->shutting_down;

	pipe_free(pipe);
	if (was_shut_down)
		return;
	mount->kernel_registered = false;
	agent_drop(mount);
	shut_down_pipes(mount);
}

static struct pipe_end *pipe_by_registration(uint64_t registration)
{
	for (unsigned i = 0; i < sim.mount_count; i++)
		for (struct pipe_end *pipe = sim.mounts[i].pipes; pipe; pipe = pipe->next)
			if (pipe->registration == registration)
				return pipe;
	return NULL;
}

static void register_again(void)
{
	register_again_at = 0;
	if (tunables.control == CONTROL_SHUTDOWN)
		return;
	for (unsigned i = 0; i < sim.mount_count; i++)
		if (sim.mounts[i].kernel_registered)
			agent_add(&sim.mounts[i]);
}

static void pipe_event(struct pipe_end *pipe, uint32_t events)
{
	if ((events & EPOLLERR) || !pipe_flush(pipe))
		pipe_dead(pipe);
	else if (pipe->shutting_down && !pipe->queue_length)
		pipe_free(pipe);
	else
		pipe_watch(pipe);
}

static void *watcher(void *unused)
{
	struct epoll_event events[64];
	uint64_t wakeups;

	(void)unused;
	for (;;) {
		int timeout = -1, count;

		lock();
		if (register_again_at) {
			double left = register_again_at - now_s();

			if (left <= 0)
				register_again();
			else
				timeout = (int)(left * 1000) + 1;
		}
		unlock();
		count = epoll_wait(epoll_fd, events, 64, timeout);
		lock();
		for (int i = 0; i < count; i++) {
			struct pipe_end *pipe = pipe_by_registration(events[i].data.u64);

			if (pipe)
				pipe_event(pipe, events[i].events);
			else if (events[i].data.u64 == 0 && read(wake_fd, &wakeups, sizeof(wakeups)) < 0)
				continue;
		}
		unlock();
	}
	return NULL;
}

void agents_start(void)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = 0 };
	pthread_t thread;

	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, wake_fd, &event);
	pthread_create(&thread, NULL, watcher, NULL);
	pthread_detach(thread);
}

int agent_register(unsigned index, int fd, const uint32_t *archives, int count, uint64_t *registration)
{
	struct mount *mount = &sim.mounts[index];
	struct epoll_event event = { .events = 0 };
	struct pipe_end *pipe;

	if (tunables.control == CONTROL_SHUTDOWN)
		return -ENXIO;
	pipe = xalloc(sizeof(*pipe));
	pipe->fd = fd;
	pipe->mount = index;
	pipe->registration = *registration = next_registration++;
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	fcntl(fd, F_SETPIPE_SZ, SIM_RECEIVE_MAX);
	event.data.u64 = pipe->registration;
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
	pipe->next = mount->pipes;
	mount->pipes = pipe;
	if (!mount->agent) { /* a second tool on a node adds no archive ids */
		bool every = count == 0;

		for (int i = 0; i < count; i++)
			every |= archives[i] == 0;
		free(mount->archives);
		mount->archives = xalloc((size_t)count * sizeof(*archives));
		memcpy(mount->archives, archives, (size_t)count * sizeof(*archives));
		mount->archive_count = every ? 0 : count;
	}
	mount->kernel_registered = true;
	agent_add(mount);
	return 0;
}

/* The server then drops the whole agent, whoever else is on the node. */
int agent_unregister(unsigned index, uint64_t registration)
{
	struct pipe_end *pipe = pipe_by_registration(registration);

	if (pipe)
		pipe_free(pipe);
	sim.mounts[index].kernel_registered = false;
	agent_drop(&sim.mounts[index]);
	return 0;
}

bool agent_serves(const struct mount *mount, uint32_t archive_id)
{
	if (!mount->agent)
		return false;
	for (int i = 0; i < mount->archive_count; i++)
		if (mount->archives[i] == archive_id)
			return true;
	return mount->archive_count == 0;
}

bool archive_served(uint32_t archive_id)
{
	for (unsigned i = 0; i < sim.mount_count; i++)
		if (agent_serves(&sim.mounts[i], archive_id))
			return true;
	return false;
}

struct mount *agent_choose(uint32_t archive_id)
{
	for (unsigned i = 0; i < sim.mount_count; i++) {
		struct mount *mount = &sim.mounts[turn++ % sim.mount_count];

		if (agent_serves(mount, archive_id))
			return mount;
	}
	return NULL;
}

static void plan_register_again(void)
{
	uint64_t one = 1;

	register_again_at = now_s() + tunables.reregister_delay;
	if (write(wake_fd, &one, sizeof(one)) < 0)
		perror("lustre-sim: eventfd");
}

/* Quietly: the node notices by itself and registers again. Otherwise its tools read -ESHUTDOWN. */
void agent_evict(struct mount *mount, bool quietly)
{
	agent_drop(mount);
	if (quietly) {
		plan_register_again();
	} else {
		mount->kernel_registered = false;
		shut_down_pipes(mount);
	}
}

void agents_drop_all(bool again)
{
	for (unsigned i = 0; i < sim.mount_count; i++) {
		agent_drop(&sim.mounts[i]);
		if (!again)
			sim.mounts[i].kernel_registered = false;
	}
	if (again)
		plan_register_again();
}

void agents_shutdown(void)
{
	lock();
	for (unsigned i = 0; i < sim.mount_count; i++) {
		agent_drop(&sim.mounts[i]);
		shut_down_pipes(&sim.mounts[i]);
	}
	unlock();
}

unsigned agents_count(void)
{
	unsigned count = 0;

	for (unsigned i = 0; i < sim.mount_count; i++)
		count += sim.mounts[i].agent;
	return count;
}

void print_agents(struct text *out)
{
	for (unsigned i = 0; i < sim.mount_count; i++) {
		const struct mount *mount = &sim.mounts[i];

		if (!mount->agent)
			continue;
		text_add(out, "uuid=%s archive_id=", mount->uuid);
		for (int k = 0; k < mount->archive_count; k++)
			text_add(out, k ? ",%u" : "%u", mount->archives[k]);
		text_add(out, "%s requests=[current:%llu ok:%llu errors:%llu]\n",
			 mount->archive_count ? "" : "ANY", (unsigned long long)mount->requests_current,
			 (unsigned long long)mount->requests_ok, (unsigned long long)mount->requests_failed);
	}
}
