/*
 * Requests of the kernel that wait for a restore. They hold no thread: the request is kept and answered later,
 * with the data, with ENODATA when the restore fails, or with EINTR when a signal interrupts the caller.
 */
#include "sim.h"
#include <stdio.h>
#include <stdlib.h>

#define SLOTS 4096u

static struct blocked *by_request[SLOTS];

static struct blocked **slot_of(fuse_req_t req)
{
	struct blocked **slot = &by_request[hash_bytes(&req, sizeof(req), 0) % SLOTS];

	while (*slot && (*slot)->req != req)
		slot = &(*slot)->hash_next;
	return slot;
}

static void unregister(struct blocked *wait)
{
	struct blocked **slot = slot_of(wait->req);

	*slot = wait->hash_next;
	sim.blocked_count--;
	events_changed();
}

static void unlink_from_inode(struct blocked *wait)
{
	struct blocked **at = &wait->inode->blocked;

	while (*at && *at != wait)
		at = &(*at)->next;
	if (*at)
		*at = wait->next;
}

void blocked_free(struct blocked *wait)
{
	if (!wait->handle) {
		lock();
		if (--wait->inode->opens == 0) {
			object_idle(wait->inode);
			inode_put_if_unused(wait->inode);
		}
		unlock();
	}
	free(wait->data);
	free(wait);
}

static void answer(struct blocked *wait, int error)
{
	if (error) {
		fuse_reply_err(wait->req, error);
		blocked_free(wait);
	} else {
		resume_data(wait);
	}
}

/* libfuse calls this with the request's own lock held. */
static void on_interrupt(fuse_req_t req, void *unused)
{
	struct blocked *wait;

	(void)unused;
	lock();
	wait = *slot_of(req);
	if (wait && wait->setting_up) {
		wait->interrupted = true;
		wait = NULL;
	}
	if (wait) {
		unlink_from_inode(wait);
		unregister(wait);
	}
	unlock();
	if (wait)
		answer(wait, EINTR);
}

void block_until_restored(struct blocked *wait)
{
	struct blocked **slot = slot_of(wait->req);
	bool done;
	int error;

	wait->setting_up = true;
	wait->hash_next = *slot;
	*slot = wait;
	wait->next = wait->inode->blocked;
	wait->inode->blocked = wait;
	sim.blocked_count++;
	sim.blocked_total++;
	events_changed();
	unlock();

	/* Not under the lock: see the lock order in sim.h. Meanwhile nobody else answers the request. */
	fuse_req_interrupt_func(wait->req, on_interrupt, NULL);

	lock();
	wait->setting_up = false;
	done = wait->woken || wait->interrupted;
	error = wait->woken ? wait->error : EINTR;
	if (done) {
		if (!wait->woken)
			unlink_from_inode(wait);
		unregister(wait);
	}
	unlock();
	if (done) {
		fuse_req_interrupt_func(wait->req, NULL, NULL);
		answer(wait, error);
	}
}

void blocked_take(struct inode *inode, int error, struct blocked **list)
{
	struct blocked *wait, *next;

	/* The inode's list has the newest first; turned round here, the first to ask is the first answered. */
	for (wait = inode->blocked; wait; wait = next) {
		next = wait->next;
		wait->error = error;
		if (wait->setting_up) {
			wait->woken = true;
			continue;
		}
		unregister(wait);
		wait->next = *list;
		*list = wait;
	}
	inode->blocked = NULL;
}

void wake_all(struct blocked *list)
{
	while (list) {
		struct blocked *next = list->next;

		fuse_req_interrupt_func(list->req, NULL, NULL);
		answer(list, list->error);
		list = next;
	}
}

/* The file system goes away. */
void blocked_fail_everything(int error)
{
	struct blocked *list = NULL;

	lock();
	for (unsigned i = 0; i < SLOTS; i++)
		while (by_request[i] && !by_request[i]->setting_up)
			blocked_take(by_request[i]->inode, error, &list);
	unlock();
	wake_all(list);
}
