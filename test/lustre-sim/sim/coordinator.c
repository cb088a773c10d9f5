/*
 * The coordinator of the simulated metadata server: the records of all requests, the queues they stand in, and
 * the thread that hands work out, at most once a loop period, times requests out and forgets finished ones.
 *
 * A record's status is what hsm.actions shows. `active` says that the coordinator's memory knows it as running:
 * after a restart of the server a record may be STARTED without being active.
 */
#include "sim.h"
#include <stdlib.h>
#include <string.h>

#define SLOTS 65536u

struct archive_queue {
	struct archive_queue *next;
	uint32_t archive_id;
	struct queue queue;
	bool served;
};

struct tunables tunables = { .max_requests = 3,
			     .active_request_timeout = 3600,
			     .grace_delay = 60,
			     .default_archive_id = 1,
			     .loop_period = 1,
			     .no_retry = true,
			     .reregister_delay = 0.5,
			     .enospc_after = -1,
			     .edquot_after = -1,
			     .list_items = 1000000 };
struct hsm_counts counts;
const char *const status_names[] = { "WAITING", "STARTED", "SUCCEED", "FAILED", "CANCELED" };

static struct request *by_cookie[SLOTS], *by_fid[SLOTS];
static struct archive_queue *waiting; /* by archive id */
static struct queue waiting_cancels, started, finished;
static uint64_t waiting_count, active_count;
static uint64_t first_cookie, next_cookie, next_index = 1;
static pthread_cond_t kicked, changed;
static bool kick_pending;
static bool round_planned; /* the coordinator sleeps until its next round: new work need not wake it */

static void queue_push(struct queue *queue, struct request *request)
{
	request->queue = queue;
	request->next = NULL;
	request->previous = queue->last;
	*(queue->last ? &queue->last->next : &queue->first) = request;
	queue->last = request;
}

static void queue_remove(struct request *request)
{
	struct queue *queue = request->queue;

	*(request->previous ? &request->previous->next : &queue->first) = request->next;
	*(request->next ? &request->next->previous : &queue->last) = request->previous;
	request->queue = NULL;
}

static struct request **cookie_slot(uint64_t cookie)
{
	return &by_cookie[cookie % SLOTS];
}

static struct request **fid_slot(const struct lu_fid *fid)
{
	return &by_fid[hash_bytes(fid, sizeof(*fid), 0) % SLOTS];
}

struct request *request_by_cookie(uint64_t cookie)
{
	struct request *request = *cookie_slot(cookie);

	while (request && request->cookie != cookie)
		request = request->cookie_next;
	return request;
}

bool cookie_was_issued(uint64_t cookie)
{
	return cookie >= first_cookie && cookie < next_cookie;
}

struct request *request_last(const struct lu_fid *fid, uint32_t action)
{
	struct request *request;

	/* New ones are put in front. */
	for (request = *fid_slot(fid); request; request = request->fid_next)
		if (fid_equal(&request->fid, fid) &&
		    (action ? request->action == action : request->action != HSMA_CANCEL))
			return request;
	return NULL;
}

struct request *request_live(const struct lu_fid *fid, uint32_t action)
{
	struct request *request;

	for (request = *fid_slot(fid); request; request = request->fid_next)
		if (fid_equal(&request->fid, fid) && request->status <= STARTED &&
		    (action ? request->action == action : request->action != HSMA_CANCEL))
			return request;
	return NULL;
}

static struct archive_queue *archive_queue(uint32_t archive_id)
{
	struct archive_queue *archive;

	for (archive = waiting; archive; archive = archive->next)
		if (archive->archive_id == archive_id)
			return archive;
	archive = xalloc(sizeof(*archive));
	archive->archive_id = archive_id;
	archive->next = waiting;
	waiting = archive;
	return archive;
}

/* Something can be handed out, if there is something. */
static void kick_for_work(void)
{
	if (!round_planned && (waiting_count || waiting_cancels.first))
		coordinator_kick();
}

static void enqueue_waiting(struct request *request)
{
	request->status = WAITING;
	counts.waiting++;
	if (counts.queue_peak < counts.waiting + counts.started)
		counts.queue_peak = counts.waiting + counts.started;
	if (request->action == HSMA_CANCEL) {
		queue_push(&waiting_cancels, request);
	} else {
		queue_push(&archive_queue(request->archive_id)->queue, request);
		waiting_count++;
	}
	kick_for_work();
	events_changed();
}

static void dequeue_waiting(struct request *request)
{
	queue_remove(request);
	counts.waiting--;
	if (request->action != HSMA_CANCEL)
		waiting_count--;
}

struct request *request_add(uint32_t action, const struct lu_fid *fid, uint32_t archive_id, uint64_t flags,
			    const char *data, uint32_t data_len)
{
	struct request *request = xalloc(sizeof(*request) + data_len), **slot;

	request->cookie = next_cookie++;
	request->index = next_index++;
	request->action = action;
	request->fid = *fid;
	request->dfid = *fid;
	request->archive_id = archive_id;
	request->flags = flags;
	request->data_len = data_len;
	request->created = time(NULL);
	request->changed = now_s();
	if (data_len)
		memcpy(request->data, data, data_len);
	slot = cookie_slot(request->cookie);
	request->cookie_next = *slot;
	*slot = request;
	slot = fid_slot(fid);
	request->fid_next = *slot;
	*slot = request;
	enqueue_waiting(request);
	return request;
}

static void request_free(struct request *request)
{
	struct request **slot = cookie_slot(request->cookie);

	while (*slot != request)
		slot = &(*slot)->cookie_next;
	*slot = request->cookie_next;
	slot = fid_slot(&request->fid);
	while (*slot != request)
		slot = &(*slot)->fid_next;
	*slot = request->fid_next;
	queue_remove(request);
	if (request->cancel)
		request->cancel->target = NULL;
	if (request->target)
		request->target->cancel = NULL;
	free(request);
}

void request_touch(struct request *request)
{
	request->changed = now_s();
	if (request->queue == &started) {
		queue_remove(request);
		queue_push(&started, request);
	}
}

static void deactivate(struct request *request, bool ok)
{
	struct mount *mount = &sim.mounts[request->mount];

	if (!request->active)
		return;
	request->active = false;
	active_count--;
	if (mount->agent && agent_epoch(request->mount) == request->mount_epoch) {
		mount->requests_current--;
		if (ok)
			mount->requests_ok++;
		else
			mount->requests_failed++;
	}
	kick_for_work();
}

void request_finish(struct request *request, enum request_status status, struct blocked **wake)
{
	if (request->status > STARTED) { /* purged before; only the memory of it is left */
		deactivate(request, status == SUCCEED);
		return;
	}
	if (request->status == WAITING) {
		dequeue_waiting(request);
	} else {
		queue_remove(request);
		counts.started--;
	}
	deactivate(request, status == SUCCEED);
	request->status = status;
	request->changed = now_s();
	if (!finished.first)
		coordinator_kick(); /* it has a new time to wake up at */
	queue_push(&finished, request);
	if (status == SUCCEED)
		counts.succeeded++;
	else if (status == FAILED)
		counts.failed++;
	else
		counts.canceled++;
	if (request->action == HSMA_RESTORE) {
		struct inode *inode = inode_by_fid(&request->fid);

		if (inode)
			blocked_take(inode, status == SUCCEED ? 0 : ENODATA, wake);
	}
	if (request->cancel && request->cancel->status <= STARTED)
		request_finish(request->cancel, SUCCEED, wake);
	kick_for_work();
	events_changed();
}

/* Back to the queue, as policy -NRA has it. */
void request_retry(struct request *request)
{
	queue_remove(request);
	counts.started--;
	deactivate(request, false);
	request->volatile_fid = (struct lu_fid){ 0 };
	request->dfid = request->fid;
	request->moved = 0;
	request->live_registration = request->ended_registration = 0;
	enqueue_waiting(request);
}

void coordinator_forget(void)
{
	for (struct request *request = started.first; request; request = request->next)
		if (request->active) {
			request->active = false;
			request->canceled = false;
			active_count--;
		}
	for (struct request *request = finished.first; request; request = request->next)
		if (request->active) {
			request->active = false;
			active_count--;
		}
	coordinator_kick();
}

/* Everything that waits or runs is canceled; the tools are told to stop what runs. */
void coordinator_purge(struct blocked **wake)
{
	struct outgoing *lists = NULL;
	struct request *request;

	while (waiting_cancels.first)
		request_finish(waiting_cancels.first, CANCELED, wake);
	for (struct archive_queue *archive = waiting; archive; archive = archive->next)
		while (archive->queue.first)
			request_finish(archive->queue.first, CANCELED, wake);
	while ((request = started.first)) {
		bool was_active = request->active;

		request_finish(request, CANCELED, wake);
		if (was_active) {
			/* The tool still has it in hand: it counts until its end, and the tool hears of it. */
			struct mount *mount = &sim.mounts[request->mount];

			request->active = true;
			request->canceled = true;
			active_count++;
			mount->requests_current++;
			list_add(list_for(&lists, mount, request->archive_id, request->flags, 0), request,
				 HSMA_CANCEL);
		}
	}
	lists_send(lists);
}

/* What a file must be for the action still to make sense when it is handed out. */
static bool still_possible(const struct request *request, struct inode *inode)
{
	switch (request->action) {
	case HSMA_ARCHIVE:
		return inode && !(inode->hsm_flags & (HS_RELEASED | HS_NOARCHIVE));
	case HSMA_RESTORE:
		return inode && (inode->hsm_flags & HS_RELEASED) && !(inode->hsm_flags & HS_LOST);
	default:
		return !inode || !(inode->hsm_flags & HS_RELEASED);
	}
}

static void start(struct request *request, struct mount *mount)
{
	dequeue_waiting(request);
	request->status = STARTED;
	request->mount = mount->index;
	request->mount_epoch = agent_epoch(mount->index);
	request->changed = now_s();
	queue_push(&started, request);
	counts.started++;
	counts.delivered++;
	if (request->action != HSMA_CANCEL) {
		request->active = true;
		active_count++;
		mount->requests_current++;
	}
	events_changed();
}

static void hand_out_cancel(struct outgoing **lists, struct request *cancel, struct mount *mount)
{
	struct request *target = cancel->target;
	struct outgoing *out = list_for(lists, mount, target->archive_id, target->flags, 0);

	target->canceled = true;
	start(cancel, mount);
	list_add(out, target, HSMA_CANCEL);
}

static void hand_out(struct outgoing **lists, struct request *request, struct blocked **wake)
{
	struct inode *inode = inode_by_fid(&request->fid);
	struct mount *mount;
	struct outgoing *out;

	if (!still_possible(request, inode)) {
		request_finish(request, FAILED, wake);
		return;
	}
	mount = agent_choose(request->archive_id);
	if (request->action == HSMA_ARCHIVE) {
		/* A copy may exist from now on, whole or not. */
		inode->hsm_flags |= HS_EXISTS;
		inode->archive_id = request->archive_id;
	}
	out = list_for(lists, mount, request->archive_id, request->flags, item_size(request));
	start(request, mount);
	list_add(out, request, request->action);
	if (request->cancel && request->cancel->status == WAITING)
		hand_out_cancel(lists, request->cancel, mount);
}

static void hand_out_cancels(struct outgoing **lists, struct blocked **wake)
{
	struct request *cancel, *next;

	for (cancel = waiting_cancels.first; cancel; cancel = next) {
		struct request *target = cancel->target;
		struct mount *mount;

		next = cancel->next;
		if (!target || target->status > STARTED) {
			request_finish(cancel, SUCCEED, wake); /* it ended by itself */
			continue;
		}
		if (target->status == WAITING)
			continue; /* goes out together with it */
		mount = &sim.mounts[target->mount];
		if (!agent_serves(mount, target->archive_id))
			mount = agent_choose(target->archive_id);
		if (mount)
			hand_out_cancel(lists, cancel, mount);
	}
}

static void hand_out_everything(struct blocked **wake)
{
	struct outgoing *lists = NULL;

	hand_out_cancels(&lists, wake);
	for (struct archive_queue *archive = waiting; archive; archive = archive->next)
		archive->served = archive_served(archive->archive_id);
	while (active_count < tunables.max_requests && waiting_count) {
		struct archive_queue *oldest = NULL;

		for (struct archive_queue *archive = waiting; archive; archive = archive->next)
			if (archive->served && archive->queue.first &&
			    (!oldest || archive->queue.first->index < oldest->queue.first->index))
				oldest = archive;
		if (!oldest)
			break;
		hand_out(&lists, oldest->queue.first, wake);
	}
	lists_send(lists);
}

/* Requests without a sign of life are given up. They stand in the order of their last one. */
static double time_out(double now, struct blocked **wake)
{
	struct request *request;

	while ((request = started.first)) {
		double due = request->changed + (double)tunables.active_request_timeout;

		if (due > now)
			return due;
		if (request->cancel && request->cancel->status == STARTED)
			request_finish(request->cancel, FAILED, wake);
		request_finish(request, CANCELED, wake);
	}
	return now + 3600;
}

static double forget_finished(double now)
{
	struct request *request;

	while ((request = finished.first)) {
		double due = request->changed + (double)tunables.grace_delay;

		if (due > now)
			return due;
		if (request->active) /* purged, and the tool never ended it */
			deactivate(request, false);
		request_free(request);
	}
	return now + 3600;
}

static void wait_until(pthread_cond_t *condition, double until)
{
	struct timespec ts = { .tv_sec = (time_t)until,
			       .tv_nsec = (long)((until - (double)(time_t)until) * 1e9) };

	pthread_cond_timedwait(condition, &sim_lock, &ts);
}

static void *coordinator(void *unused)
{
	double next_round = 0;

	(void)unused;
	lock();
	for (;;) {
		struct blocked *wake = NULL;
		double now = now_s(), until = now + 3600, due;

		kick_pending = round_planned = false;
		if (tunables.control == CONTROL_ENABLED && (waiting_count || waiting_cancels.first)) {
			if (now >= next_round) {
				uint64_t before = counts.delivered;

				hand_out_everything(&wake);
				if (counts.delivered != before)
					next_round = now + tunables.loop_period;
			} else if (next_round < until) {
				until = next_round;
				round_planned = true;
			}
		}
		due = time_out(now, &wake);
		if (due < until)
			until = due;
		due = forget_finished(now);
		if (due < until)
			until = due;
		if (wake) {
			unlock();
			wake_all(wake);
			lock();
			continue;
		}
		if (!kick_pending)
			wait_until(&kicked, until);
	}
	return NULL;
}

void coordinator_kick(void)
{
	kick_pending = true;
	pthread_cond_signal(&kicked);
}

void events_changed(void)
{
	pthread_cond_broadcast(&changed);
}

void wait_event(double until)
{
	wait_until(&changed, until);
}

void coordinator_start(void)
{
	pthread_condattr_t attr;
	pthread_t thread;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&kicked, &attr);
	pthread_cond_init(&changed, &attr);
	first_cookie = next_cookie = 0x6b000000u + (uint64_t)(time(NULL) & 0xffff) * 16;
	pthread_create(&thread, NULL, coordinator, NULL);
	pthread_detach(thread);
}

struct request **requests_all(size_t *count)
{
	size_t room = 1024;
	struct request **all = xalloc(room * sizeof(struct request *));

	*count = 0;
	for (unsigned i = 0; i < SLOTS; i++)
		for (struct request *r = by_cookie[i]; r; r = r->cookie_next) {
			if (*count == room)
				all = xgrow(all, (room *= 2) * sizeof(struct request *));
			all[(*count)++] = r;
		}
	return all;
}
